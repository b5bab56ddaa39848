"""Files that a kill at any moment leaves whole."""

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """The file appears with all of `data`, or stays as it was; folders are made on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
