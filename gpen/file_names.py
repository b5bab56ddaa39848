"""Names of files: which suffixes are those of images, which names are the same, which cannot be used."""

from __future__ import annotations

import functools
import mimetypes
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath

from PIL import Image

from gpen.errors import GPENError
from gpen.images import FORMATS, MPO, register_heif

SPACES = str.maketrans("\u00a0\u202f\u2007", "   ")  # no-break spaces, as in names that macOS gives to screenshots
NOT_AN_IMAGE = "not an image"
HEIF_IMAGES = {".heic", ".heics", ".heif", ".heifs", ".hif"}
RAW_IMAGES = {
    ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".raf", ".rw2", ".orf", ".pef", ".srw", ".x3f",
    ".3fr", ".iiq", ".erf", ".kdc", ".dcr", ".mrw", ".rwl", ".raw",
}  # fmt: skip
OTHER_IMAGES = {
    ".jxl",
    ".jxr",
    ".psb",
    ".xcf",
    ".exr",
    ".hdr",
    ".pfm",
    ".dds",
    ".tga",
    ".mpo",
}  # of no known MIME type on some systems
OTHER_VIDEOS = {".mts", ".m2ts", ".3gp", ".vob", ".dv", ".mxf", ".rm", ".rmvb", ".divx", ".asf", ".ogm", ".ogv", ".f4v"}


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the image formats that `gpen.images` reads here; with HEIC if its package is installed."""
    register_heif()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in (*FORMATS, MPO))


def is_image(path: Path) -> bool:
    """Whether the suffix is that of an image that can be read; hidden files are none."""
    return path.suffix.lower() in image_suffixes() and not path.name.startswith(".")


def is_media(path: Path) -> bool:
    """Whether the suffix is that of an image or a video, whether it can be read here or not; hidden files are none."""
    if path.name.startswith("."):
        return False
    suffix, kind = path.suffix.lower(), mimetypes.guess_type(path.name)[0] or ""
    known = suffix in HEIF_IMAGES | RAW_IMAGES | OTHER_IMAGES or suffix in image_suffixes() or kind.startswith("image/")
    return known or is_video(path)


def why_unreadable(path: Path) -> str:
    """Why a file is not read as an image, by its name; "" if it is."""
    suffix = path.suffix.lower()
    if is_image(path):
        return ""
    if suffix in HEIF_IMAGES:
        return 'a HEIC image: pip install "gpen[heif]", or save it as JPEG'
    if suffix in RAW_IMAGES:
        return "raw data of a camera: export it as JPEG or TIFF"
    return f"the format {suffix} is not supported: convert it" if is_media(path) and not is_video(path) else NOT_AN_IMAGE


def is_video(path: Path) -> bool:
    """Whether the suffix is that of a video, whether it can be read here or not."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    return path.suffix.lower() in OTHER_VIDEOS or kind.startswith("video/")


def same_name(name: str) -> str:
    """The form in which names are compared: composed Unicode (NFC), plain spaces, the suffix of an image in lower case."""
    name = unicodedata.normalize("NFC", name).translate(SPACES)
    stem, suffix = os.path.splitext(name)
    return stem + suffix.lower() if suffix.lower() in image_suffixes() else name


def without_suffix(name: str) -> str:
    """The name, or path, without the suffix of an image in any case; other endings, as in "photo 10.15", belong to the name."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in image_suffixes() else name


def by_same_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Names, or paths, grouped by their form in `same_name` without the suffix: {"a": ["a.jpg", "a.PNG"]}, in their order."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(same_name(without_suffix(name)), []).append(name)
    return groups


def by_same_name(paths: Iterable[Path]) -> dict[str, Path]:
    """The paths by their names in the form of `same_name`. Raises GPENError if two have the same name."""
    found: dict[str, Path] = {}
    for path in paths:
        if (other := found.setdefault(same_name(path.name), path)) != path:
            raise GPENError(f"{other} and {path} have the same name but for its Unicode form: rename one of them.")
    return found


def check_name(path: PurePath) -> None:
    """Raise GPENError for a name with control characters, such as a line break, which would break tables and reports."""
    if any(unicodedata.category(character) == "Cc" for character in str(path)):
        raise GPENError(f"The file name {str(path)!r} contains control characters: rename the file.")
