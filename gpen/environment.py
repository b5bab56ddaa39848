"""The environment that determines the last digits of a result: source code, versions of libraries, device, batch size.

Rows of a run and entries of a cache carry the `environment_id`, so that results of different environments can be told apart.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

Environment = dict[str, str | int | None]


def package_version(package: str) -> str | None:
    """The version of an installed distribution; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The name of the processor, as Linux or `platform` states it."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@functools.cache
def code_hash(*packages: Path) -> str:
    """SHA-256 of the Python files in folders, with their names."""
    digest = hashlib.sha256()
    for folder in packages:
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{folder.name}/{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def environment(device: str | torch.device, packages: Iterable[str], folders: Iterable[Path], **settings: int) -> Environment:
    """Describe the environment of a result.

    packages: distributions whose versions matter. folders: of the source code. settings: other integers that matter, such as the
    batch size.
    """
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "code": code_hash(*folders),
        "python": platform.python_version(),
        **{package: package_version(package) for package in packages},
        "device": f"{device.type}: {name}",
        **settings,
    }


def environment_id(found: Environment) -> str:
    """12 hexadecimal digits that identify an environment."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:12]


def differences(old: Environment, new: Environment) -> str:
    """What differs, in words: "torch 2.12.0, now 2.13.0; batch 8, now 4"; source code without its hash."""
    changed = [name for name in (old | new) if old.get(name) != new.get(name)]
    words = ["the source code" if name == "code" else f"{name} {old.get(name)}, now {new.get(name)}" for name in changed]
    return "; ".join(words)
