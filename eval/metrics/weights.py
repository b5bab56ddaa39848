"""Files of the metrics: paths and error messages. Nothing is downloaded automatically."""

import functools
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gpen.errors import GPENError


class MissingMetric(GPENError):
    """A metric is not available; the message says which file or package is missing and how to get it."""


def _environment(name: str) -> Any:
    return field(default_factory=lambda: os.environ.get(name, ""))


@dataclass(frozen=True)
class MetricSettings:
    """Paths of the files of the metrics.

    squeezenet       .npz with the Caffe weights of SqueezeNet 1.1; default $GPEN_SQUEEZENET
    identity_model   face embedding in ONNX; default $GPEN_IDENTITY_MODEL
    fid_statistics   .npz with mu [2048] and sigma [2048, 2048], written by python -m pytorch_fid --save-stats;
                     default $GPEN_FID_STATISTICS
    niqe_parameters  pristine model published by the authors of NIQE, .npz or .mat; default $GPEN_NIQE_PARAMETERS
    niqe_faces       pristine model of faces, written by python -m eval fit-niqe; default: the model of this project
    verify           check the sha256 of backbones; False, or GPEN_UNVERIFIED_WEIGHTS=1 in the environment, accepts any file, for
                     tests with random weights only
    device           torch device of the networks
    """

    squeezenet: str = _environment("GPEN_SQUEEZENET")
    identity_model: str = _environment("GPEN_IDENTITY_MODEL")
    fid_statistics: str = _environment("GPEN_FID_STATISTICS")
    niqe_parameters: str = _environment("GPEN_NIQE_PARAMETERS")
    niqe_faces: str = str(Path(__file__).with_name("niqe_faces.npz"))
    verify: bool = field(default_factory=lambda: os.environ.get("GPEN_UNVERIFIED_WEIGHTS") != "1")
    device: str = "cpu"


def cached_path(url: str) -> Path:
    """The path of a download in the cache of torch.hub, whether it exists or not."""
    return Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])


def require_checkpoint(url: str, metric: str, verify: bool) -> Path:
    """The path of a downloaded checkpoint.

    Raises MissingMetric with the download command if it is missing.

    A file name of torch.hub ends with the first 8 hexadecimal digits of its sha256, which `verify` checks.
    """
    path = cached_path(url)
    fetch = f"python -c \"import torch; torch.hub.load_state_dict_from_url('{url}', check_hash=True)\""
    if not path.is_file():
        raise MissingMetric(f"{metric} needs the file {path}; download it with: {fetch}.")
    digits = path.stem[-8:]
    if verify and not file_hash(path).startswith(digits):
        raise MissingMetric(
            f"{metric}: The sha256 of {path} does not start with {digits}; delete the file and download it with: {fetch}."
        )
    return path


def file_hash(path: str | Path) -> str:
    """sha256 of a file, hexadecimal."""
    status = os.stat(path)
    return _file_hash(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)  # the hash of a 100 MB file is used several times in a run
def _file_hash(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
