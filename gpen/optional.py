"""Packages that only a part of gpen needs; each is in an extra of the distribution, such as gpen[video]."""

from __future__ import annotations

import importlib
from typing import Any

from gpen.errors import GPENError


def import_optional(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional package.

    extra: the extra of gpen that has the package. purpose: what needs it, the subject of the message, such as "Video".
    Raises GPENError with the command that installs it if it is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise missing_package(module.partition(".")[0], extra, purpose) from None


def missing_package(package: str, extra: str, purpose: str) -> GPENError:
    """The error for a package that is not installed."""
    return GPENError(f'{purpose} needs the package {package}, which is not installed: pip install "gpen[{extra}]".')
