"""Writing of images, uint8 RGB [h, w, 3], and atomic writing of any file."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from gpen.errors import GPENError


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    """Encode an image, uint8 RGB [h, w, 3], in the format of a file suffix. Raises GPENError for an unknown suffix."""
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise GPENError(f"The suffix {suffix!r} is not that of an image format: use .png.")
    return data.tobytes()


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an image, uint8 RGB [h, w, 3], atomically in the format of the suffix. Raises GPENError for an unknown suffix."""
    path = Path(path)
    try:
        data = encode(image, path.suffix)
    except GPENError:
        raise GPENError(f"{path} does not have the suffix of an image format: use .png.") from None
    write_atomically(path, data)


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write a file so that it is complete or unchanged after an interruption at any time; missing folders are created."""
    with replace_atomically(path) as partial:
        partial.write_bytes(data)


@contextmanager
def replace_atomically(path: str | os.PathLike, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces `path` on success and is deleted after an error.

    The temporary name is unique, so that several processes can write the same file, and short, so that it is valid for every
    valid `path`. Missing folders are created. The content is on disk before the name, see `move_durably`. durable=False does not
    wait for the disk, for a cache whose readers check the size: after a loss of power the file can be truncated.

    All packages write files with this function.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(4)}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode  # of a new file of this user; some writers (safetensors) set a narrower one
        yield partial
        partial.chmod(mode)
        if durable:
            move_durably(partial, path)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def move_durably(source: Path, target: Path) -> None:
    """Rename a file or folder so that after a loss of power `target` is complete, unchanged or missing, never truncated.

    The content of `source` is synchronised with the disk before the rename, and the folder of `target` after it; of a folder only
    its list of names, since its files were written with `replace_atomically`.
    """
    _synchronise(source)
    source.replace(target)
    _synchronise(target.parent)


def _synchronise(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on disk."""
    folder = path.is_dir()
    if folder and not hasattr(os, "O_DIRECTORY"):
        return  # Windows synchronises the names itself
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot synchronise folders
            raise
    finally:
        os.close(number)
