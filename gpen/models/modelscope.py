"""GPEN files on ModelScope, the hub that the README of the authors names for the 1024 and 2048 px models.

damo/cv_gpen_image-portrait-enhancement         pytorch_model.pt        512 px
damo/cv_gpen_image-portrait-enhancement-hires   pytorch_model.pt        1024 px, GPEN-BFR-1024
damo/cv_gpen_image-portrait-enhancement-hires   pytorch_model-2048.pt   2048 px, GPEN-BFR-2048
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from gpen.models import download

URL = "https://www.modelscope.cn/api/v1/models"
PORTRAIT, HIRES = "damo/cv_gpen_image-portrait-enhancement", "damo/cv_gpen_image-portrait-enhancement-hires"


class HubFile(NamedTuple):
    """A file of a model of ModelScope."""

    model: str  # OWNER/NAME
    file: str
    size: int  # px, of the network

    @property
    def url(self) -> str:
        """Address of the file in the API of ModelScope."""
        return f"{URL}/{self.model}/repo?Revision=master&FilePath={self.file}"

    @property
    def page(self) -> str:
        """Page of the model, for people."""
        return f"https://www.modelscope.cn/models/{self.model}"


FILES = {  # name of the model for gpen.load, and of its file in the cache, -> file
    "GPEN-BFR-1024": HubFile(HIRES, "pytorch_model.pt", 1024),
    "GPEN-BFR-2048": HubFile(HIRES, "pytorch_model-2048.pt", 2048),
    "cv_gpen_image-portrait-enhancement": HubFile(PORTRAIT, "pytorch_model.pt", 512),
}
NAMES = {  # name on ModelScope, with or without its file -> name of the model
    PORTRAIT: "cv_gpen_image-portrait-enhancement",
    HIRES: "GPEN-BFR-1024",
} | {f"{one.model}/{one.file}": name for name, one in FILES.items()}


def local_file(name: str) -> Path | None:
    """The file of a model in the cache of the package modelscope; None if there is none, or no such model on ModelScope."""
    if name not in FILES:
        return None
    model, file, _ = FILES[name]
    cache = Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope").expanduser()
    places = (cache / folder / model / file for folder in ("hub", "hub/models", "models", ""))  # of its versions
    return next((place for place in places if place.is_file()), None)


def is_cached(path: Path) -> bool:
    """Whether a file is one of FILES in the cache of the package modelscope, by the end of its path."""
    return any(path.as_posix().endswith(f"{one.model}/{one.file}") for one in FILES.values())


def source(name: str) -> str | None:
    """Address of a model: ModelScope, or the mirror in GPEN_DOWNLOAD_URL as NAME.pth; None if that is empty."""
    base = download.source(URL)
    return FILES[name].url if base == URL else base and f"{base}/{name}.pth"
