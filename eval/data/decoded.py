"""Decoded images of one size in a temporary file: a run decodes each ground truth once and needs little memory."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

FREE = 0.5  # part of the free space of the disk that the file may take


class DecodedImages:
    """Images uint8 RGB [size, size, 3] by name, on disk.

    The file is in `folder`, has no name and disappears with the process. Images that exceed the limit are decoded each time.
    """

    def __init__(self, folder: Path, size: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._shape, self._bytes = (size, size, 3), 3 * size * size
        self._limit = int(FREE * shutil.disk_usage(folder).free) // self._bytes
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)
        self._places: dict[str, int] = {}  # name -> number in the file

    def get(self, name: str, decode: Callable[[str], np.ndarray]) -> np.ndarray:
        """The image of a name; `decode(name)` is called the first time."""
        if name in self._places:
            self._file.seek(self._places[name] * self._bytes)
            return np.frombuffer(self._file.read(self._bytes), np.uint8).reshape(self._shape).copy()  # writable
        image = decode(name)
        if len(self._places) < self._limit:
            self._file.seek(len(self._places) * self._bytes)
            if self._write(image):
                self._places[name] = len(self._places)
            else:
                self._limit = 0  # the disk is full
        return image

    def _write(self, image: np.ndarray) -> bool:
        """Whether the image could be written at the position of the file."""
        try:
            return self._file.write(np.ascontiguousarray(image).data) == self._bytes
        except OSError:
            return False

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
