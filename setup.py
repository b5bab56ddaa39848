"""Packages of the distribution: found by folder, plus assets/ as gpen.assets. All metadata is in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["gpen", "gpen.*", "eval", "eval.*", "demo", "demo.*"]), "gpen.assets"])
