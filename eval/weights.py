"""The files that metrics stand on: where they are named, how a missing one says so. Nothing is downloaded unasked."""

import functools
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gpen.errors import GPENError


class MissingMetric(GPENError):
    """A metric cannot be computed here; the message says what is missing and how to get it."""


def _environment(name: str) -> str:
    return field(default_factory=lambda: os.environ.get(name, ""))


@dataclass(frozen=True)
class MetricSettings:
    """Where the metrics' files are.

    squeezenet       .npz of SqueezeNet 1.1's Caffe weights; default $GPEN_SQUEEZENET
    identity_model   ONNX face embedding; default $GPEN_IDENTITY_MODEL
    fid_statistics   .npz with mu [2048] and sigma [2048, 2048], as python -m pytorch_fid --save-stats writes it;
                     default $GPEN_FID_STATISTICS
    niqe_parameters  the pristine model that NIQE's authors published, .npz or .mat; default $GPEN_NIQE_PARAMETERS
    niqe_faces       a pristine model of faces, made with python -m eval fit-niqe; default the project's own
    verify           check the sha256 of backbones; False, or GPEN_UNVERIFIED_WEIGHTS=1 in the environment, takes any file:
                     for tests with random weights, never for figures that you report
    device           of the networks, a torch device
    """

    squeezenet: str = _environment("GPEN_SQUEEZENET")
    identity_model: str = _environment("GPEN_IDENTITY_MODEL")
    fid_statistics: str = _environment("GPEN_FID_STATISTICS")
    niqe_parameters: str = _environment("GPEN_NIQE_PARAMETERS")
    niqe_faces: str = str(Path(__file__).with_name("niqe_faces.npz"))
    verify: bool = field(default_factory=lambda: os.environ.get("GPEN_UNVERIFIED_WEIGHTS") != "1")
    device: str = "cpu"


def cached(url: str) -> Path:
    """Where torch.hub keeps a download, whether it is there or not."""
    return Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])


def checkpoint(url: str, metric: str, verify: bool) -> Path:
    """The file that a library would download, which must be there. Raises MissingMetric with the command that fetches it.

    A name of torch.hub ends in the first 8 hexadecimal digits of the file's sha256; `verify` compares them.
    """
    path = cached(url)
    fetch = f"python -c \"import torch; torch.hub.load_state_dict_from_url('{url}', check_hash=True)\""
    if not path.is_file():
        raise MissingMetric(f"{metric} needs {path}; fetch it with: {fetch}")
    digits = path.stem[-8:]
    if verify and not file_hash(path).startswith(digits):
        raise MissingMetric(
            f"{metric}: the sha256 of {path} does not begin with {digits}; delete it and fetch it again with: {fetch}"
        )
    return path


def file_hash(path: str | Path) -> str:
    """sha256 of a file, hexadecimal."""
    status = os.stat(path)
    return _file_hash(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)  # a 100 MB file is asked for several times in a run
def _file_hash(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
