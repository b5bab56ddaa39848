"""The registry of metrics, with the library, the backbone and the colour space of each metric.

A metric without its weights raises MissingMetric, whose message says how to get them; nothing is downloaded automatically and no
value is replaced by 0. Images are uint8 RGB [h, w, 3]; the result and the ground truth have the same size. The value of an image
for which a metric is undefined is NaN, for example the distance between faces for an image without a face.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eval.metrics import fid, iqa, landmarks, niqe
from eval.metrics import pixel as pixels
from eval.metrics.identity import Identity
from eval.metrics.lpips import LPIPS_BACKBONES, load_lpips, lpips_weights
from eval.metrics.squeezenet import SqueezeNet
from eval.metrics.vqfr.deg import load_deg
from eval.metrics.vqfr.lmd import load_lmd
from eval.metrics.weights import MetricSettings, MissingMetric
from gpen.errors import GPENError
from gpen.training.monitoring.frechet import frechet_distance

Images = list[np.ndarray]
FullReferenceMetric = Callable[[Images, Images], list[float]]  # results, ground truth -> one value per pair
NoReferenceMetric = Callable[[Images], list[float]]  # results -> one value per image
FeatureExtractor = Callable[[Images], np.ndarray]  # images -> [n, d]
MetricFunction = FullReferenceMetric | NoReferenceMetric | FeatureExtractor


@dataclass(frozen=True)
class Metric:
    """One metric. `load(settings)` returns its function, or raises MissingMetric.

    mode              "FR"   full reference: a FullReferenceMetric, one value per image
                      "NR"   no reference: a NoReferenceMetric, one value per image
                      "set"  a FeatureExtractor; one value per set of images, distance(features of the results, reference)
    lower_better      whether a lower value is better
    features          key of the features in a RUN, shared by the metrics that use the same network
    distance          of a "set" metric: the distance between features [n, d] and the reference
    reference         of a "set" metric: loads statistics of a reference set; None: the features of the ground truth
    weights           the weight files, for the recipe of a run
    seen_in_training  whether the default model was trained on features of this network: the metric is not independent of it
    package           the distribution whose version is stored in the recipe
    crop              border of the images that is left out
    licence           of a package that is not free software; printed below tables
    """

    title: str
    library: str
    backbone: str
    colour: str
    lower_better: bool
    needs: str
    load: Callable[[MetricSettings], MetricFunction]
    mode: Literal["FR", "NR", "set"] = "FR"
    features: str = ""
    distance: Callable[[np.ndarray, Any], float] | None = None
    reference: Callable[[MetricSettings], Any] | None = None
    weights: Callable[[MetricSettings], list[Path]] = lambda settings: []
    seen_in_training: bool = False
    package: str = "gpen"
    crop: str = "none"
    licence: str = ""


@functools.lru_cache(maxsize=2)
def _squeezenet_file(path: str, device: str) -> SqueezeNet:
    return SqueezeNet(path, device)


def _load_squeezenet(settings: MetricSettings) -> SqueezeNet:
    if not settings.squeezenet:
        raise MissingMetric(
            "The SqueezeNet distances need the Caffe weights of SqueezeNet 1.1 as .npz; "
            "give the file with --squeezenet FILE or GPEN_SQUEEZENET=FILE."
        )
    try:
        return _squeezenet_file(settings.squeezenet, settings.device)
    except (GPENError, OSError) as error:
        raise MissingMetric(f"The SqueezeNet distances cannot be computed: {error}") from error


@functools.lru_cache(maxsize=2)
def _identity_file(path: str) -> Identity:
    return Identity(path)


def _load_identity(settings: MetricSettings) -> Identity:
    if not settings.identity_model:
        raise MissingMetric(
            "The identity metrics need a face embedding in ONNX (112 px ArcFace crops, RGB, "
            "x / 127.5 - 1; for example EdgeFace); give it with --identity-model FILE or "
            "GPEN_IDENTITY_MODEL=FILE."
        )
    try:
        return _identity_file(settings.identity_model)
    except (GPENError, OSError) as error:
        raise MissingMetric(f"The identity metrics cannot be computed: {error}") from error


def _file(name: str) -> Callable[[MetricSettings], list[Path]]:
    """The weight file given by a field of the settings."""
    return lambda settings: [Path(getattr(settings, name))]


def _lpips(backbone: str, network: str) -> Metric:
    return Metric(
        f"LPIPS ({backbone})", "lpips 0.1", f"{network}, torchvision's ImageNet weights", "RGB", True,
        f"{LPIPS_BACKBONES[backbone]} in $TORCH_HOME/hub/checkpoints",
        functools.partial(load_lpips, backbone), weights=lambda settings: lpips_weights(backbone), package="lpips",
    )  # fmt: skip


def _pixel(title: str, library: str, colour: str, score: Callable, crop: str = "none") -> Metric:
    convert = pixels.luma if colour == Y else np.asarray
    load = pixels.per_pair(score, convert)
    return Metric(title, library, "none", colour, False, "nothing", load, package="scikit-image", crop=crop)


def _iqa(title: str, name: str, network: str, mode: Literal["FR", "NR"], lower_better: bool = False) -> Metric:
    return Metric(
        title, "pyiqa", f"{network}, {name} of pyiqa", "RGB", lower_better, 'the package pyiqa: pip install "gpen[iqa]"',
        functools.partial(iqa.load_iqa, name, mode, lower_better), mode, package="pyiqa", licence=iqa.LICENCE,
    )  # fmt: skip


Y = "Y of BT.601, 16..235"
SSIM = "scikit-image, Gaussian window of 11 px, sigma 1.5, as in BasicSR"
SSIM_UNIFORM = "scikit-image, uniform window of 7 px"
OWN_SQUEEZENET = "this project, with the linear layers of lpips 0.1"
CAFFE = "SqueezeNet 1.1, Caffe weights"
NPZ = "--squeezenet FILE or $GPEN_SQUEEZENET"
FID_LIBRARY = "this project, on the features of pytorch-fid"
KID_LIBRARY = f"{FID_LIBRARY}, without the pairs of a result and its own ground truth"
INCEPTION = "Inception-v3 of the original FID, 2048 features"
INCEPTION_FILE = f"{fid.cached_path(fid.URL).name} in $TORCH_HOME/hub/checkpoints"
OWN_ONNX = "this project, onnxruntime"
ONNX = "--identity-model FILE or $GPEN_IDENTITY_MODEL"
METRICS: dict[str, Metric] = {  # in the order of the columns of tables
    "lpips_alex": _lpips("alex", "AlexNet"),
    "lpips_vgg": _lpips("vgg", "VGG-16"),
    "lpips_squeeze": _lpips("squeeze", "SqueezeNet 1.1"),
    "fid": Metric(
        "FID (GT)", FID_LIBRARY, INCEPTION, "RGB", True, INCEPTION_FILE, fid.load_inception,
        "set", "inception", frechet_distance, weights=fid.fid_weights, package="pytorch-fid",
    ),
    "fid_statistics": Metric(
        "FID (given statistics)", FID_LIBRARY, INCEPTION, "RGB", True, f"{INCEPTION_FILE}; --fid-statistics FILE",
        fid.load_with_statistics, "set", "inception", frechet_distance, fid.load_statistics,
        lambda settings: [*fid.fid_weights(settings), Path(settings.fid_statistics)], package="pytorch-fid",
    ),
    "kid": Metric(
        "KID (GT)", KID_LIBRARY, INCEPTION, "RGB", True, INCEPTION_FILE,
        fid.load_inception, "set", "inception", fid.kid, weights=fid.fid_weights, package="pytorch-fid",
    ),
    "psnr": _pixel("PSNR (RGB)", "scikit-image", "RGB", pixels.psnr),
    "psnr_y": _pixel("PSNR (Y)", "scikit-image", Y, pixels.psnr),
    "ssim": _pixel("SSIM (RGB)", SSIM, "RGB", pixels.ssim, "none, complete windows only"),
    "ssim_y": _pixel("SSIM (Y)", SSIM, Y, pixels.ssim, "none, complete windows only"),
    "ssim_uniform": _pixel(
        "SSIM (RGB, uniform window)", SSIM_UNIFORM, "RGB", pixels.ssim_uniform, "none, complete windows only"
    ),
    "deg": Metric(
        "Deg (°)", "this project, as VQFR", "ArcFace, ResNet-18 on grey faces of 128 px", "grey", True,
        "--deg-weights FILE or $GPEN_DEG_WEIGHTS", load_deg, weights=_file("deg_weights"),
    ),
    "lmd": Metric(
        "LMD (px)", "this project, as VQFR", "four stacked hourglasses, 98 landmarks of WFLW", "RGB", True,
        "--lmd-weights FILE or $GPEN_LMD_WEIGHTS", load_lmd, weights=_file("lmd_weights"),
    ),
    "dists": _iqa("DISTS", "dists", "VGG-16", "FR", lower_better=True),
    "musiq": _iqa("MUSIQ", "musiq", "trained on KonIQ-10k", "NR"),
    "maniqa": _iqa("MANIQA", "maniqa", "trained on KonIQ-10k", "NR"),
    "clipiqa": _iqa("CLIPIQA", "clipiqa", "CLIP ResNet-50", "NR"),
    "topiq_face": _iqa("TOPIQ (face)", "topiq_nr-face", "ResNet-50, trained on CGFIQA", "NR"),
    "squeezenet": Metric(
        "SqueezeNet distance", OWN_SQUEEZENET, CAFFE, "BGR", True, NPZ,
        lambda settings: _load_squeezenet(settings).distance, weights=_file("squeezenet"), seen_in_training=True,
    ),
    "squeezenet_fd": Metric(
        "SqueezeNet Fréchet distance", "this project", f"{CAFFE}, mean of the last fire module", "BGR", True, NPZ,
        lambda settings: _load_squeezenet(settings).features, "set", "squeezenet", frechet_distance,
        weights=_file("squeezenet"), seen_in_training=True,
    ),
    "niqe": Metric(
        "NIQE", "this project", "none; pristine model of the authors, patches of 96 px (four at 256 px)", Y, True,
        "--niqe-parameters FILE or $GPEN_NIQE_PARAMETERS", niqe.load_published, "NR", weights=_file("niqe_parameters"),
    ),
    "niqe_fitted": Metric(
        "NIQE (fitted on faces)", "this project", "none; pristine model of generated faces at 256 px, or your own", Y, True,
        "nothing; --niqe-faces FILE for your own model", niqe.load_fitted, "NR", weights=_file("niqe_faces"),
    ),
    "identity": Metric(
        "Identity (cosine)", OWN_ONNX, "the embedding of --identity-model", "RGB", False, ONNX,
        lambda settings: _load_identity(settings).cosine, weights=_file("identity_model"), package="onnxruntime",
    ),
    "identity_angle": Metric(
        "Identity (angle, rad)", OWN_ONNX, "the embedding of --identity-model", "RGB", True, ONNX,
        lambda settings: _load_identity(settings).angle, weights=_file("identity_model"), package="onnxruntime",
    ),
    "identity_fd": Metric(
        "Identity Fréchet distance", "this project", "the embedding of --identity-model, vectors of unit length", "RGB", True,
        ONNX, lambda settings: _load_identity(settings).embed, "set", "identity", frechet_distance,
        weights=_file("identity_model"),
    ),
    "landmarks": Metric(
        "Landmark distance", "facenet-pytorch", "MTCNN, five points; normalised by the interocular distance", "RGB", True,
        "weights of the package", lambda settings: landmarks.load_landmarks().distance, package="facenet-pytorch",
    ),
}  # fmt: skip
NOT_DEFAULT = ("lpips_vgg", "lpips_squeeze", "ssim_uniform", *(name for name, metric in METRICS.items() if metric.licence))
DEFAULT_METRICS = tuple(name for name in METRICS if name not in NOT_DEFAULT)


def metric_help() -> str:
    """A line for each metric: name, title, direction (↑ higher is better), mode.

    † if training has seen its network, * if it needs a file or a package.
    """
    return "\n".join(
        f" {name:14} {metric.title} {'↓' if metric.lower_better else '↑'} {metric.mode}"
        + " †" * metric.seen_in_training
        + " *" * (metric.package == "pyiqa" or not metric.needs.startswith(("nothing", "weights of the package")))
        for name, metric in METRICS.items()
    )


def is_per_image(name: str) -> bool:
    """Whether the metric has one value per image, not one per set of images."""
    return METRICS[name].mode != "set"


def needs_ground_truth(name: str) -> bool:
    """Whether the metric compares with the ground truth of the same images."""
    metric = METRICS[name]
    return metric.mode == "FR" or (metric.mode == "set" and metric.reference is None)


def load_metrics(names: Iterable[str], settings: MetricSettings) -> tuple[dict[str, Callable], dict[str, str]]:
    """Load the functions of the metrics.

    Returns (functions by name, message by name for each metric that is not available). Raises GPENError for an unknown name.
    """
    functions: dict[str, Callable] = {}
    missing: dict[str, str] = {}
    for name in names:
        if name not in METRICS:
            raise GPENError(f"Unknown metric {name!r}; choose from {', '.join(METRICS)}.")
        try:
            functions[name] = _load(name, settings)
        except MissingMetric as error:
            missing[name] = str(error)
    return functions, missing


@functools.lru_cache(maxsize=32)  # exceptions are not cached, because the file may be added later
def _load(name: str, settings: MetricSettings) -> Callable:
    return METRICS[name].load(settings)


def compare(
    image: np.ndarray,  # uint8 RGB [h, w, 3]
    truth: np.ndarray,  # uint8 RGB [h, w, 3]
    names: Iterable[str] = ("psnr", "ssim", "lpips_alex"),
    settings: MetricSettings | None = None,
) -> dict[str, float | str]:
    """Compute metrics of one image pair: the value by name, or the message why it is not available.

    Raises GPENError for an unknown name, for a set metric and for images of different sizes.
    """
    names = list(names)
    if image.shape != truth.shape:
        raise GPENError(f"Images of shapes {image.shape} and {truth.shape} cannot be compared; resize one of them.")
    if sets := [name for name in names if name in METRICS and not is_per_image(name)]:
        raise GPENError(f"The metric {sets[0]} compares sets of images; choose a metric of image pairs.")
    functions, missing = load_metrics(names, settings or MetricSettings())
    values = {name: score(*([image], [truth])[: 2 if needs_ground_truth(name) else 1])[0] for name, score in functions.items()}
    return {name: (values | missing)[name] for name in names}
