"""The models that the playground offers: the default one, and restoration models in the folders of GPEN_MODELS and the cache.

Nothing is downloaded. One model is loaded at a time, and at most MAX_LOADED besides the default one are kept in memory.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from safetensors import safe_open

import gpen
from demo.server import tensor_names, zerogpu
from gpen.errors import GPENError
from gpen.models import download
from gpen.models.checkpoints import PUBLISHED_MODELS

MAX_LOADED = 1
MAX_BYTES = 2 * 2**30  # of a file; the largest published model has 0.6 GB
DEFAULT = ""  # name of the default model in links
SUFFIXES = (".safetensors", ".pth")
_RESTORES = "GPEN-BFR"  # beginning of the names of published models for restoration


class ModelPicker:
    """Restorers by name of the model.

    Attributes:
        names: of the models besides the default one, sorted; files that are added later are not found.
    """

    def __init__(self, default: gpen.Restorer):
        self.default = default
        self._files = _files()
        self.names = sorted(self._files)
        self._loaded: OrderedDict[str, gpen.Restorer] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()

    def restorer(self, name: str) -> gpen.Restorer:
        """Return the restorer of a model, loaded if necessary. Raises GPENError for an unknown name or an unusable file."""
        if name == DEFAULT:
            return self.default
        if name not in self._files:
            raise GPENError(f"There is no model {name[:60]!r} on this server: choose one of the list.")
        with self._lock:
            if name not in self._loaded:
                while len(self._loaded) >= MAX_LOADED:  # before loading, so that memory is bounded
                    self._loaded.popitem(last=False)
                self._loaded[name] = zerogpu.make_restorer(gpen.load(self._files[name]))
            self._loaded.move_to_end(name)
            return self._loaded[name]


def _files() -> dict[str, Path]:
    """Return name -> file of the restoration models; the first folder with a name has priority."""
    found: dict[str, Path] = {}
    for folder in download.folders():
        for path in sorted(folder.glob("*")) if folder.is_dir() else []:
            if path.suffix in SUFFIXES and path.is_file() and path.stat().st_size <= MAX_BYTES and _restores(path):
                found.setdefault(path.stem, path)
    return found


def _restores(path: Path) -> bool:
    """Return whether a file seems to be a model for restoration, without reading its tensors."""
    if path.stem in PUBLISHED_MODELS:
        return path.stem.startswith(_RESTORES) and not path.stem.endswith("-D")
    if not tensor_names.holds_restoration_network(path):
        return False
    if path.suffix == ".pth":
        return True
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("task", "restore") == "restore"
