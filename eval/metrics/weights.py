"""Files of the metrics: paths and error messages. Nothing is downloaded automatically."""

import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from eval.options import option
from gpen.errors import GPENError
from gpen.models.download import file_hash


class MissingMetric(GPENError):
    """A metric is not available; the message says which file or package is missing and how to get it."""


def _environment(name: str) -> Any:
    return field(default_factory=lambda: os.environ.get(name, ""))


@dataclass(frozen=True)
class MetricSettings:
    """Paths of the files of the metrics; "" for those that are not available."""

    squeezenet: Annotated[str, option("FILE", "$GPEN_SQUEEZENET")] = _environment("GPEN_SQUEEZENET")
    """Caffe weights of SqueezeNet 1.1, .npz"""
    identity_model: Annotated[str, option("FILE", "$GPEN_IDENTITY_MODEL")] = _environment("GPEN_IDENTITY_MODEL")
    """face embedding in ONNX, such as EdgeFace"""
    fid_statistics: Annotated[str, option("FILE", "$GPEN_FID_STATISTICS")] = _environment("GPEN_FID_STATISTICS")
    """mean and covariance of a reference set: .npz of pytorch-fid, or .pth of BasicSR and VQFR"""
    deg_weights: Annotated[str, option("FILE", "$GPEN_DEG_WEIGHTS")] = _environment("GPEN_DEG_WEIGHTS")
    """ArcFace of the metric deg, resnet18_110.pth"""
    lmd_weights: Annotated[str, option("FILE", "$GPEN_LMD_WEIGHTS")] = _environment("GPEN_LMD_WEIGHTS")
    """landmark detector of the metric lmd, alignment_WFLW_4HG.pth"""
    niqe_parameters: Annotated[str, option("FILE", "$GPEN_NIQE_PARAMETERS")] = _environment("GPEN_NIQE_PARAMETERS")
    """pristine model published by the authors of NIQE, .npz or .mat"""
    niqe_faces: Annotated[str, option("FILE", "the model of this package")] = str(Path(__file__).with_name("niqe_faces.npz"))
    """pristine model of faces, .npz of python -m eval fit-niqe"""
    # check the sha256 of backbones; GPEN_UNVERIFIED_WEIGHTS=1 accepts any file, for tests with random weights only
    verify: tyro.conf.Suppress[bool] = field(default_factory=lambda: os.environ.get("GPEN_UNVERIFIED_WEIGHTS") != "1")
    device: tyro.conf.Suppress[str] = "cpu"  # torch device of the networks; a run sets it


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


def read_tensors(path: Path, metric: str) -> dict[str, torch.Tensor]:
    """Read a state dict, also one under the key state_dict, without running code of the file. Raises MissingMetric.

    The prefix "module." of networks trained on several GPUs is removed.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        content = content.get("state_dict", content)
        if all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
            return {name.removeprefix("module."): tensor for name, tensor in content.items()}
    except (OSError, RuntimeError, EOFError, ValueError, AttributeError, pickle.UnpicklingError):
        pass
    raise MissingMetric(f"{metric}: {path} cannot be read as weights; check the path or download the file again.")


def load_tensors(net: torch.nn.Module, tensors: dict[str, torch.Tensor], metric: str, path: Path, expected: str) -> None:
    """Load the tensors of the file `path`. Raises MissingMetric, naming the `expected` file, if they do not fit."""
    try:
        net.load_state_dict(tensors)
    except RuntimeError:
        raise MissingMetric(f"{metric}: {path} is not {expected}; give that file.") from None
