"""The registry of metrics. Each entry says which library, backbone and colour space its figure stands for.

A metric whose weights are absent raises MissingMetric, one sentence with the way out; it is never 0, and
nothing is downloaded behind the user's back. Images are uint8 RGB [h, w, 3], result and truth of one size.
"""

import functools
import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from eval.identity import Identity
from eval.squeezenet import SqueezeNet
from eval.statistics import frechet_distance
from gpen.compat import mend_torchvision
from gpen.errors import GPENError

Images = list[np.ndarray]
Scorer = Callable[[Images, Images], list[float]]  # results, truths -> a value per pair
Features = Callable[[Images], np.ndarray]  # images -> [n, d]

LPIPS_BACKBONES = {  # the files that torchvision caches, with the first 8 hex digits of their sha256
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}


class MissingMetric(GPENError):
    """A metric cannot be computed here; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class MetricSettings:
    """Where the metrics' files are.

    squeezenet      .npz of SqueezeNet 1.1's Caffe weights; default $GPEN_SQUEEZENET
    identity_model  ONNX face embedding; default $GPEN_IDENTITY_MODEL
    verify          check the sha256 of backbones; False, or GPEN_UNVERIFIED_WEIGHTS=1 in the environment,
                    takes any file: for tests with random weights, never for figures that you report
    device          of the networks, a torch device
    """

    squeezenet: str = field(default_factory=lambda: os.environ.get("GPEN_SQUEEZENET", ""))
    identity_model: str = field(default_factory=lambda: os.environ.get("GPEN_IDENTITY_MODEL", ""))
    verify: bool = field(default_factory=lambda: os.environ.get("GPEN_UNVERIFIED_WEIGHTS") != "1")
    device: str = "cpu"


@dataclass(frozen=True)
class Metric:
    """One metric. `load(settings)` gives its function, or raises MissingMetric.

    distance  None: the function is a Scorer, a value per image. Otherwise it gives Features, and the figure,
              one for the whole set, is distance(features of the results, features of the truths)
    weights   the files behind the figure, for the record of a run
    """

    title: str
    library: str
    backbone: str
    colour: str
    better: str  # "higher" | "lower"
    needs: str
    load: Callable[[MetricSettings], Scorer | Features]
    distance: Callable[[np.ndarray, np.ndarray], float] | None = None
    weights: Callable[[MetricSettings], list[Path]] = lambda settings: []


def luma(image: np.ndarray) -> np.ndarray:
    """Y of ITU-R BT.601 in studio range, 16 to 235, float64 [h, w]: what super-resolution papers call Y."""
    from skimage.color import rgb2ycbcr

    return rgb2ycbcr(image)[..., 0]


def _psnr(image: np.ndarray, truth: np.ndarray) -> float:
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):  # identical images: infinity
        return float(peak_signal_noise_ratio(truth, image, data_range=255))


def _ssim(image: np.ndarray, truth: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    channels = -1 if image.ndim == 3 else None
    return float(structural_similarity(truth, image, channel_axis=channels, data_range=255))


def _each(score: Callable, convert: Callable = np.asarray) -> Callable[[MetricSettings], Scorer]:
    """A loader of a metric that needs no weights and takes one pair at a time."""
    def scorer(images: Images, truths: Images) -> list[float]:
        return [score(convert(a), convert(b)) for a, b in zip(images, truths, strict=True)]

    return lambda settings: scorer


def _checkpoint(backbone: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", LPIPS_BACKBONES[backbone])


def _load_lpips(backbone: str, settings: MetricSettings) -> Scorer:
    path = _checkpoint(backbone)
    fetch = (f'python -c "import torch; torch.hub.load_state_dict_from_url('
             f"'https://download.pytorch.org/models/{path.name}', check_hash=True)\"")
    if not path.is_file():
        raise MissingMetric(f"lpips_{backbone} needs {path}; fetch it with: {fetch}")
    digits = re.search(r"-([0-9a-f]{8})\.pth$", path.name)[1]
    if settings.verify and not file_hash(path).startswith(digits):
        raise MissingMetric(f"lpips_{backbone}: the sha256 of {path} does not begin with {digits}; "
                            f"delete it and fetch it again with: {fetch}")
    mend_torchvision()
    try:
        import lpips
    except ImportError as error:
        raise MissingMetric(f"lpips_{backbone} needs its package ({error}); pip install lpips") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips asks torchvision for weights in a deprecated way
        try:
            net = lpips.LPIPS(net=backbone, verbose=False).to(settings.device)
        except RuntimeError as error:
            raise MissingMetric(f"lpips_{backbone}: {path} does not fit the network; fetch it again "
                                f"with: {fetch}") from error

    def tensor(image: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(image).to(settings.device).permute(2, 0, 1)[None]
        return x.float() / 127.5 - 1  # [1, 3, h, w] in [-1, 1]

    @torch.inference_mode()
    def scorer(images: Images, truths: Images) -> list[float]:
        # one pair at a time: a batch of them differs from the library's own value in the last digit
        return [net(tensor(a), tensor(b)).item() for a, b in zip(images, truths, strict=True)]

    return scorer


@functools.lru_cache(maxsize=2)
def _squeezenet_file(path: str, device: str) -> SqueezeNet:
    return SqueezeNet(path, device)


def _load_squeezenet(settings: MetricSettings) -> SqueezeNet:
    if not settings.squeezenet:
        raise MissingMetric("the SqueezeNet distances need SqueezeNet 1.1's Caffe weights as an .npz; "
                            "name the file with --squeezenet FILE or GPEN_SQUEEZENET=FILE")
    try:
        return _squeezenet_file(settings.squeezenet, settings.device)
    except (ValueError, OSError) as error:
        raise MissingMetric(f"the SqueezeNet distances cannot be computed: {error}") from error


@functools.lru_cache(maxsize=2)
def _identity_file(path: str) -> Identity:
    return Identity(path)


def _load_identity(settings: MetricSettings) -> Identity:
    if not settings.identity_model:
        raise MissingMetric("the identity scores need a face embedding in ONNX (112 px ArcFace crops, RGB, "
                            "x / 127.5 - 1; EdgeFace for one); name it with --identity-model FILE or "
                            "GPEN_IDENTITY_MODEL=FILE")
    try:
        return _identity_file(settings.identity_model)
    except (ValueError, OSError) as error:
        raise MissingMetric(f"the identity scores cannot be computed: {error}") from error


def _squeezenet_weights(settings: MetricSettings) -> list[Path]:
    return [Path(settings.squeezenet)]


def _identity_weights(settings: MetricSettings) -> list[Path]:
    return [Path(settings.identity_model)]


def _lpips(backbone: str, network: str) -> Metric:
    needs = f"{LPIPS_BACKBONES[backbone]} in $TORCH_HOME/hub/checkpoints"
    return Metric(
        f"LPIPS ({backbone})", "lpips", f"{network}, torchvision's ImageNet weights", "RGB", "lower", needs,
        functools.partial(_load_lpips, backbone), weights=lambda settings: [_checkpoint(backbone)],
    )  # fmt: skip


Y = "Y of BT.601, 16..235"
SKIMAGE_SSIM = "scikit-image, 7 px uniform window"
OWN_SQUEEZENET = "this project, with the heads of lpips 0.1"
CAFFE = "SqueezeNet 1.1, Caffe weights"
NPZ = "--squeezenet FILE or $GPEN_SQUEEZENET"
OWN_ONNX = "this project, onnxruntime"
ONNX = "--identity-model FILE or $GPEN_IDENTITY_MODEL"
METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR (RGB)", "scikit-image", "none", "RGB", "higher", "nothing", _each(_psnr)),
    "psnr_y": Metric("PSNR (Y)", "scikit-image", "none", Y, "higher", "nothing", _each(_psnr, luma)),
    "ssim": Metric("SSIM (RGB)", SKIMAGE_SSIM, "none", "RGB", "higher", "nothing", _each(_ssim)),
    "ssim_y": Metric("SSIM (Y)", SKIMAGE_SSIM, "none", Y, "higher", "nothing", _each(_ssim, luma)),
    "lpips_alex": _lpips("alex", "AlexNet"),
    "lpips_vgg": _lpips("vgg", "VGG-16"),
    "lpips_squeeze": _lpips("squeeze", "SqueezeNet 1.1"),
    "squeezenet": Metric(
        "SqueezeNet distance", OWN_SQUEEZENET, CAFFE, "BGR", "lower", NPZ,
        lambda settings: _load_squeezenet(settings).distance, weights=_squeezenet_weights,
    ),
    "squeezenet_fd": Metric(
        "SqueezeNet Fréchet distance", "this project", f"{CAFFE}, mean of the last fire module", "BGR",
        "lower", NPZ, lambda settings: _load_squeezenet(settings).features, frechet_distance,
        _squeezenet_weights,
    ),
    "identity": Metric(
        "Identity (cosine)", OWN_ONNX, "the embedding you name", "RGB", "higher", ONNX,
        lambda settings: _load_identity(settings).cosine, weights=_identity_weights,
    ),
    "identity_angle": Metric(
        "Identity (angle, rad)", OWN_ONNX, "the embedding you name", "RGB", "lower", ONNX,
        lambda settings: _load_identity(settings).angle, weights=_identity_weights,
    ),
}  # fmt: skip
DEFAULT_METRICS = tuple(name for name in METRICS if name not in ("lpips_vgg", "lpips_squeeze"))


def load_metrics(
    names: Iterable[str], settings: MetricSettings
) -> tuple[dict[str, Scorer | Features], dict[str, str]]:
    """The functions of the metrics that can be computed, and a sentence for each that cannot.

    Raises GPENError for a name that no metric has.
    """
    functions, missing = {}, {}
    for name in names:
        if name not in METRICS:
            raise GPENError(f"there is no metric {name!r}; choose from {', '.join(METRICS)}")
        try:
            functions[name] = _load(name, settings)
        except MissingMetric as error:
            missing[name] = str(error)
    return functions, missing


@functools.lru_cache(maxsize=32)  # a failure is not kept: the file may come later
def _load(name: str, settings: MetricSettings) -> Scorer | Features:
    return METRICS[name].load(settings)


def compare(
    image: np.ndarray,  # uint8 RGB [h, w, 3]
    truth: np.ndarray,  # uint8 RGB [h, w, 3]
    names: Iterable[str] = ("psnr", "ssim", "lpips_alex"),
    settings: MetricSettings | None = None,
) -> dict[str, float | str]:
    """Each metric of one pair: its value, or the sentence that says why it is not available.

    Raises GPENError for an unknown name, for a set metric and for images of different sizes.
    """
    names = list(names)
    if image.shape != truth.shape:
        raise GPENError(f"images of {image.shape} and {truth.shape} cannot be compared; resize one first")
    if sets := [name for name in names if name in METRICS and METRICS[name].distance]:
        raise GPENError(f"{sets[0]} compares sets of images, not two images")
    functions, missing = load_metrics(names, settings or MetricSettings())
    values = {name: score([image], [truth])[0] for name, score in functions.items()}
    return {name: (values | missing)[name] for name in names}


def file_hash(path: str | Path) -> str:
    """sha256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
