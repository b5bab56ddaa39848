"""Files from the net, whole or not at all: progress bar, resumption by Range requests (RFC 9110, section 14), retries, a check.

What is fetched: the published GPEN weights (named in gpen.checkpoints) and OpenCV's face detector YuNet. They are looked up in
GPEN_MODELS (one folder, or several as in PATH), then in the cache. GPEN_DOWNLOAD_URL names a mirror; set to nothing it forbids
downloads.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from .errors import GPENError

MODELS_URL = "https://public-vigen-video.oss-cn-shanghai.aliyuncs.com/robin/models"  # the GPEN authors' own, NAME.pth
YUNET_URL = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2026may.onnx"
YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
BLOCK = 1 << 18  # bytes read at once
TRIES = 4  # attempts in a row that bring not one byte
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one


class _Refused(Exception):
    """An answer that another attempt would not change."""


def cache_folder() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/gpen, else ~/.cache/gpen."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gpen"


def folders() -> list[Path]:
    """Where files are looked up, first to last: those of GPEN_MODELS, then the cache."""
    named = [Path(folder).expanduser() for folder in os.environ.get("GPEN_MODELS", "").split(os.pathsep) if folder]
    return [*named, cache_folder()]


def local_file(*names: str, also: Sequence[Path] = ()) -> Path | None:
    """The first file of one of these names in the first of `folders()`, then of `also`, that has one; None where none has."""
    places = (folder / name for folder in (*folders(), *also) for name in names)
    return next((place for place in places if os.path.isfile(place)), None)


def source(default: str) -> str | None:
    """The address to download from: `default`, or the mirror in GPEN_DOWNLOAD_URL; None where that is set to nothing."""
    return os.environ.get("GPEN_DOWNLOAD_URL", default).rstrip("/") or None


def yunet_file() -> Path:
    """The file of OpenCV's face detector YuNet (MIT licence), downloaded (230 kB) unless a folder has it. Raises GPENError."""
    if here := local_file(YUNET_FILE):
        return here
    target = cache_folder() / YUNET_FILE
    if not (base := source(YUNET_URL)):
        raise GPENError(f"Downloads are off (GPEN_DOWNLOAD_URL is empty): fetch {YUNET_URL}/{YUNET_FILE} by hand as {target}.")
    return fetch(f"{base}/{YUNET_FILE}", target, YUNET_SHA256)


def fetch(
    url: str,
    path: str | os.PathLike,
    sha256: str | None = None,
    check: Callable[[Path], object] | None = None,
    progress: bool = True,
    timeout: float = 30.0,
) -> Path:
    """Download `url` to `path` unless it is there; returns the path.

    What arrives goes to PATH.partial, from which a later attempt, or a later process, continues. It becomes PATH only when it is
    as long as the server said, has that `sha256` (hex) and `check(file)` raises no GPENError; a wrong file is deleted. timeout:
    seconds of silence that count as a cut connection. Raises GPENError, with the address and what to do by hand.
    """
    from filelock import FileLock  # it comes with torch

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # two processes would write one partial file
            if not path.exists():
                _fetch(url, path, sha256, check, progress, timeout)
    except GPENError:
        raise
    except (_Refused, OSError, http.client.HTTPException, ValueError) as error:
        raise GPENError(f"{url} cannot be downloaded ({_reason(error)}): get it by hand and {_way_out(path)}.") from None
    return path


def _fetch(url: str, path: Path, sha256: str | None, check: Callable | None, progress: bool, timeout: float) -> None:
    partial = Path(f"{path}.partial")
    resumed = partial.exists()
    _transfer(url, partial, progress, timeout)
    wrong = _wrong(partial, sha256, check)
    if wrong and resumed:  # its first part may be of another version of the file
        partial.unlink()
        _transfer(url, partial, progress, timeout)
        wrong = _wrong(partial, sha256, check)
    if wrong:
        partial.unlink()
        raise GPENError(f"{url} gave a wrong file, which was deleted ({wrong}): get the right one and {_way_out(path)}.")
    partial.replace(path)


def _transfer(url: str, partial: Path, progress: bool, timeout: float) -> None:
    """Attempts until the partial file is complete; a cut connection is resumed, and only attempts without a byte count."""
    fruitless = 0
    failure: Exception
    with tqdm(desc=partial.stem, unit="B", unit_scale=True, unit_divisor=1024, disable=None if progress else True) as bar:
        while True:
            before = partial.stat().st_size if partial.exists() else 0
            try:
                _attempt(url, partial, bar, timeout)
                return
            except urllib.error.HTTPError as error:
                if error.code == 416 and before:  # nothing follows the partial file: it is whole, or of another version
                    if error.headers.get("Content-Range") == f"bytes */{before}":
                        return
                    partial.unlink()
                    continue
                if error.code < 500 and error.code not in (408, 429):
                    raise _Refused(f"HTTP {error.code} {error.reason}") from None
                failure = _Refused(f"HTTP {error.code} {error.reason}")
            except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
                failure = error
            after = partial.stat().st_size if partial.exists() else 0
            fruitless = 1 if after > before else fruitless + 1
            if fruitless >= TRIES:
                raise failure
            time.sleep(PAUSE * 2 ** (fruitless - 1))


def _attempt(url: str, partial: Path, bar: tqdm, timeout: float) -> None:
    """One request, appended to the partial file, or written anew where the server knows no ranges."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers={"User-Agent": "gpen", "Accept-Encoding": "identity"} | headers)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        if answer.status != 206:
            have = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise ConnectionError("the server answered with another range than the one asked for")
        length = answer.headers.get("Content-Length")
        bar.total = have + int(length) if length else None
        bar.n = have
        bar.refresh()
        with partial.open("ab" if have else "wb") as file:
            while block := answer.read1(BLOCK):  # read() would lose what came before a cut
                file.write(block)
                bar.update(len(block))
            if length and file.tell() < have + int(length):
                raise ConnectionError(f"cut off after {file.tell()} of {have + int(length)} bytes")


def _wrong(partial: Path, sha256: str | None, check: Callable[[Path], object] | None) -> str:
    """Why the file is not the wanted one; empty where it is."""
    if sha256:
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            return f"its SHA-256 is {found[:16]}..., expected {sha256[:16]}..."
    try:
        if check:
            check(partial)
    except GPENError as error:
        return str(error).rstrip(".")
    return ""


def _way_out(path: Path) -> str:
    return f"save it as {path}, or name the folder that has it in the environment variable GPEN_MODELS"


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause).rstrip(".") or type(cause).__name__
