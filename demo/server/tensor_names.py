"""Names of the tensors in a model file, read without its tensors and without unpickling, to recognise its layout cheaply."""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from safetensors import SafetensorError, safe_open

RESTORATION = {"ecd0.0.0.weight", "encoder.to_z.weight"}  # in the published layout and in that of this package
_LEGACY_PICKLES = 4  # of torch < 1.6: magic number, protocol, sizes of types, content


def read_names(path: Path) -> set[str]:
    """Return the names of the tensors in a .safetensors or .pth file, empty for any other file or one that cannot be read.

    Of a .pth file, which may be a training checkpoint with several networks, the other strings of its pickle are included.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
            file.seek(0)
            if start[8:] == b"{":
                with safe_open(path, "pt") as tensors:
                    return set(tensors.keys())
            if start[:2] == b"PK":
                with zipfile.ZipFile(file) as archive:
                    name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                    return set(_strings(archive.open(name)))
            return {name for _ in range(_LEGACY_PICKLES) for name in _strings(file)}
    except (
        OSError,
        SafetensorError,
        StopIteration,
        ValueError,
        struct.error,
        zipfile.BadZipFile,
        NotImplementedError,
        MemoryError,
        OverflowError,
    ):
        return set()


def holds_restoration_network(path: Path) -> bool:
    """Return whether a file seems to have a GPEN for restoration or a related task, from the names of its tensors."""
    return bool(RESTORATION & read_names(path))


def _strings(file: IO[bytes]) -> Iterator[str]:
    """Yield the strings of one pickle, without executing it. Raises ValueError if it is not a pickle."""
    return (argument for _, argument, _ in pickletools.genops(file) if isinstance(argument, str))
