"""Atomic file downloads with a progress bar, resumption by Range requests (RFC 9110, section 14), retries and verification.

Used for the published GPEN weights (see gpen.models.checkpoints) and OpenCV's face detector YuNet. Files are searched for in the
environment variable GPEN_MODELS (one folder, or several as in PATH), then in the cache. GPEN_DOWNLOAD_URL sets a mirror; an
empty value disables downloads. Plain http is refused, also after a redirection, unless GPEN_ALLOW_HTTP=1.

No checksums of the weights were published. The first download of a file that passes its check is recorded in FILE.sha256, in the
form of the command sha256sum; later downloads of the file, also on machines to which FILE.sha256 is copied, must be the same.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import ipaddress
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gpen.errors import GPENError
from gpen.images import move_durably, write_atomically

# Server of the GPEN authors, NAME.pth. The 1024 and 2048 px models are on ModelScope: gpen.models.modelscope.
MODELS_URL = "https://public-vigen-video.oss-cn-shanghai.aliyuncs.com/robin/models"
YUNET_URL = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2026may.onnx"
YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
BLOCK = 1 << 18  # bytes per read
TRIES = 4  # consecutive attempts without any data before giving up
PAUSE = 1.0  # seconds before the first retry, doubled before each further one


class _Refused(Exception):
    """Error for which a retry is useless."""


class _EncryptedRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses a redirection to plain http."""

    def redirect_request(self, request: Any, file: Any, code: int, message: str, headers: Any, url: str) -> Any:
        _check_encrypted(url)
        return super().redirect_request(request, file, code, message, headers, url)


_opener = urllib.request.build_opener(_EncryptedRedirects)


def cache_folder() -> Path:
    """Folder of downloaded files: $XDG_CACHE_HOME/gpen, else ~/.cache/gpen."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gpen"


def folders() -> list[Path]:
    """Folders that are searched for files, in order: those of GPEN_MODELS, then the cache."""
    named = [Path(folder).expanduser() for folder in os.environ.get("GPEN_MODELS", "").split(os.pathsep) if folder]
    return [*named, cache_folder()]


def local_file(*names: str, also: Sequence[Path] = ()) -> Path | None:
    """Find the first file with one of these names in `folders()`, then in `also`; None if there is none."""
    places = (folder / name for folder in (*folders(), *also) for name in names)
    return next((place for place in places if os.path.isfile(place)), None)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal; remembered as long as the file does not change."""
    status = os.stat(path)
    return _file_hash(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)  # the hash of a 100 MB file is used several times in a run
def _file_hash(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pinned_file(name: str) -> Path | None:
    """Find the recorded digest of a file, NAME.sha256, in `folders()`."""
    return local_file(f"{name}.sha256")


def check_pinned(path: Path) -> None:
    """Raise GPENError if a downloaded file is not the one that was recorded beside it."""
    pin = Path(f"{path}.sha256")
    if pin.is_file() and (found := file_hash(path)) != (expected := _read_pin(pin)):
        raise GPENError(
            f"{path} has changed since its download (its SHA-256 is {found[:16]}..., {pin.name} has {expected[:16]}...): "
            "delete it to download it again, or delete both if the change is yours."
        )


def _read_pin(pin: Path) -> str:
    words = pin.read_text().split()
    if not words or len(words[0]) != 64 or not set(words[0]) <= set("0123456789abcdef"):
        raise GPENError(
            f"{pin} is damaged: it must begin with a SHA-256, as the command sha256sum prints it; restore or delete it."
        )
    return words[0]


def source(default: str) -> str | None:
    """Base URL of downloads: `default`, or the mirror in GPEN_DOWNLOAD_URL; None if that is empty."""
    return os.environ.get("GPEN_DOWNLOAD_URL", default).rstrip("/") or None


def yunet_file() -> Path:
    """Find the file of OpenCV's face detector YuNet (MIT licence), or download it (230 kB). Raises GPENError as `fetch`."""
    if here := local_file(YUNET_FILE):
        return here
    target = cache_folder() / YUNET_FILE
    if not (base := source(YUNET_URL)):
        raise GPENError(
            f"Downloads are disabled (GPEN_DOWNLOAD_URL is empty): download {YUNET_URL}/{YUNET_FILE} manually to {target}."
        )
    return fetch(f"{base}/{YUNET_FILE}", target, YUNET_SHA256)


def fetch(
    url: str,
    path: str | os.PathLike,
    sha256: str | None = None,
    check: Callable[[Path], object] | None = None,
    progress: bool = True,
    timeout: float = 30.0,
) -> Path:
    """Download `url` to `path` unless it exists; returns the path.

    Data is written to PATH.partial, from which a later attempt or process continues. It is renamed to PATH once it has the
    announced length, the given `sha256` (hex) and `check(file)` raises no GPENError, else it is deleted. A file with a check and
    without `sha256` must have the digest that was recorded at an earlier download, or its digest is recorded. timeout: seconds
    without data after which a connection is considered lost. Raises GPENError with the URL and how to install the file manually.
    """
    from filelock import FileLock  # a dependency of torch

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # one process at a time writes the partial file
            if not path.exists():
                _check_encrypted(url)
                _fetch(url, path, sha256, check, progress, timeout)
    except GPENError:
        raise
    except (_Refused, OSError, http.client.HTTPException, ValueError) as error:
        raise GPENError(
            f"{url} cannot be downloaded ({_reason(error)}): download it manually and {_manual_install(path)}."
        ) from None
    return path


def _fetch(url: str, path: Path, sha256: str | None, check: Callable | None, progress: bool, timeout: float) -> None:
    partial, pin = Path(f"{path}.partial"), Path(f"{path}.sha256")
    recorded = None if sha256 else pin if pin.is_file() else pinned_file(path.name)
    if recorded:
        sha256 = _read_pin(recorded)
    resumed = partial.exists()
    _transfer(url, partial, progress, timeout)
    wrong = _mismatch(partial, sha256, check)
    if wrong and resumed:  # the first part may be from another version of the file
        partial.unlink()
        _transfer(url, partial, progress, timeout)
        wrong = _mismatch(partial, sha256, check)
    if wrong:
        partial.unlink()
        reason = f"{wrong}, recorded in {recorded}" if recorded else wrong
        raise GPENError(
            f"{url} returned a wrong file, which was deleted ({reason}): download the right one and {_manual_install(path)}."
        )
    if check and not pin.is_file() and (recorded or not sha256):
        write_atomically(pin, f"{file_hash(partial)}  {path.name}\n".encode())
    move_durably(partial, path)


def _transfer(url: str, partial: Path, progress: bool, timeout: float) -> None:
    """Retry until the partial file is complete; only consecutive attempts without any data count as failures."""
    fruitless = 0
    failure: Exception
    with tqdm(desc=partial.stem, unit="B", unit_scale=True, unit_divisor=1024, disable=None if progress else True) as bar:
        while True:
            before = partial.stat().st_size if partial.exists() else 0
            try:
                _attempt(url, partial, bar, timeout)
                return
            except urllib.error.HTTPError as error:
                if error.code == 416 and before:  # no data after the partial file: it is complete, or from another version
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
    """Send one request and append to the partial file, or overwrite it if the server does not support ranges."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers={"User-Agent": "gpen", "Accept-Encoding": "identity"} | headers)
    with _opener.open(request, timeout=timeout) as response:
        if response.status != 206:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise ConnectionError("the server returned another range than requested")
        length = response.headers.get("Content-Length")
        bar.total = have + int(length) if length else None
        bar.n = have
        bar.refresh()
        with partial.open("ab" if have else "wb") as file:
            while block := response.read1(BLOCK):  # read() would lose the data before a disconnect
                file.write(block)
                bar.update(len(block))
            if length and file.tell() < have + int(length):
                raise ConnectionError(f"disconnected after {file.tell()} of {have + int(length)} bytes")


def _mismatch(partial: Path, sha256: str | None, check: Callable[[Path], object] | None) -> str:
    """Describe why the file is not the expected one; empty if it is."""
    if sha256:
        found = file_hash(partial)
        if found != sha256:
            return f"its SHA-256 is {found[:16]}..., expected {sha256[:16]}..."
    try:
        if check:
            check(partial)
    except GPENError as error:
        return str(error).rstrip(".")
    return ""


def _check_encrypted(url: str) -> None:
    """Raise _Refused for plain http to another machine, where anybody on the way can replace the file."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http" and not _is_local(parts.hostname or "") and os.environ.get("GPEN_ALLOW_HTTP") != "1":
        raise _Refused("plain http is not encrypted: use https, or set GPEN_ALLOW_HTTP=1")


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _manual_install(path: Path) -> str:
    return f"save it as {path}, or set the environment variable GPEN_MODELS to the folder that has it"


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause).rstrip(".") or type(cause).__name__
