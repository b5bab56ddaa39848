"""Exact versions and SHA-256 digests of all packages of a Space: requirements-lock.txt, which the Space installs first.

    python -m demo.deploy.lock      # or make lock; asks the package index

The versions are those of constraints.txt, the files those for Linux on x86-64 and the Python of the Space. pip installs no other
file than one with a listed digest, and later steps of the Space find all requirements installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from demo.deploy.tree import LOCK, ROOT
from gpen.errors import GPENError, exit_status
from gpen.images import write_atomically

BUILDER = ("gradio[mcp,oauth]=={gradio}", "spaces")  # what the Hub installs in addition to requirements.txt
HEADER = """\
# Written by `make lock`: packages of the Space with the SHA-256 of their files, for Linux on x86-64 and Python {python}.
# A Space installs it as pre-requirements.txt, before requirements.txt; pip refuses all other files.
"""


def resolve(root: Path = ROOT) -> dict:
    """Ask pip which files it would install. Raises GPENError if it cannot."""
    gradio = next(
        line.split("==")[1] for line in (root / "constraints.txt").read_text().splitlines() if line.startswith("gradio==")
    )
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", str(report)]
        command += ["-c", str(root / "constraints.txt"), "-r", str(root / "requirements.txt")]
        command += [requirement.format(gradio=gradio) for requirement in BUILDER]
        # no other places than the index, so that the digests are those of the index
        environment = os.environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["unknown reason"])[-1]
            raise GPENError(f"pip cannot resolve the requirements ({reason}): check constraints.txt and the connection.")
        return json.loads(report.read_text())


def lock_lines(report: dict) -> list[str]:
    """One entry per package of a report of pip, sorted by name. Raises GPENError for a file without a digest."""
    entries = {}
    for package in report["install"]:
        name, version = package["metadata"]["name"], package["metadata"]["version"]
        digest = package["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not digest or "+" in version:
            raise GPENError(
                f"{name} {version} is not a file of the index with a SHA-256: remove it from the local indexes of pip."
            )
        entries[name.lower()] = f"{name}=={version} \\\n    --hash=sha256:{digest}"
    return [entries[name] for name in sorted(entries)]


def write_lock(root: Path = ROOT) -> Path:
    """Write the lock for requirements.txt; returns its path."""
    header = HEADER.format(python=f"{sys.version_info.major}.{sys.version_info.minor}")
    write_atomically(root / LOCK, (header + "\n".join(lock_lines(resolve(root))) + "\n").encode())
    return root / LOCK


def read_lock(text: str) -> dict[str, str]:
    """The versions in a lock, by distribution as written."""
    lines = [line for line in text.splitlines() if "==" in line and not line.startswith("#")]
    return {line.split("==")[0]: line.split("==")[1].split()[0] for line in lines}


if __name__ == "__main__":
    if status := exit_status(lambda: print(write_lock())):
        sys.exit(status)
