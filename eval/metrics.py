"""The registry of metrics. Each entry says which library, backbone and colour space its figure stands for.

A metric whose weights are absent raises MissingMetric, one sentence with the way out; it is never 0, and nothing is
downloaded behind the user's back. Images are uint8 RGB [h, w, 3], result and truth of one size. NaN is the value of an image
that a metric has nothing to say about: one without a face, for a distance between faces.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval import fid, landmarks, niqe, pixels
from eval.identity import Identity
from eval.perceptual import LPIPS_BACKBONES, load_lpips, lpips_weights
from eval.squeezenet import SqueezeNet
from eval.statistics import frechet_distance
from eval.weights import MetricSettings, MissingMetric
from gpen.errors import GPENError

Images = list[np.ndarray]
Scorer = Callable[[Images, Images], list[float]]  # results, truths -> a value per pair
Judge = Callable[[Images], list[float]]  # results -> a value per image
Features = Callable[[Images], np.ndarray]  # images -> [n, d]


@dataclass(frozen=True)
class Metric:
    """One metric. `load(settings)` gives its function, or raises MissingMetric.

    against   what a result is measured against, and with it what kind of function `load` gives:
              "truth"       a Scorer: a value per image
              "nothing"     a Judge: a value per image, without a reference
              "truths"      Features; one figure for the set, distance(features of the results, features of the truths)
              "statistics"  Features; one figure for the set, distance(features of the results, reference(settings))
    features  the name under which a run keeps the features: metrics on the same network share them
    weights   the files behind the figure, for the record of a run
    """

    title: str
    library: str
    backbone: str
    colour: str
    better: str  # "higher" | "lower"
    needs: str
    load: Callable[[MetricSettings], Scorer | Judge | Features]
    against: str = "truth"
    features: str = ""
    distance: Callable[[np.ndarray, Any], float] | None = None
    reference: Callable[[MetricSettings], Any] | None = None
    weights: Callable[[MetricSettings], list[Path]] = lambda settings: []


@functools.lru_cache(maxsize=2)
def _squeezenet_file(path: str, device: str) -> SqueezeNet:
    return SqueezeNet(path, device)


def _load_squeezenet(settings: MetricSettings) -> SqueezeNet:
    if not settings.squeezenet:
        raise MissingMetric(
            "the SqueezeNet distances need SqueezeNet 1.1's Caffe weights as an .npz; "
            "name the file with --squeezenet FILE or GPEN_SQUEEZENET=FILE"
        )
    try:
        return _squeezenet_file(settings.squeezenet, settings.device)
    except (ValueError, OSError) as error:
        raise MissingMetric(f"the SqueezeNet distances cannot be computed: {error}") from error


@functools.lru_cache(maxsize=2)
def _identity_file(path: str) -> Identity:
    return Identity(path)


def _load_identity(settings: MetricSettings) -> Identity:
    if not settings.identity_model:
        raise MissingMetric(
            "the identity scores need a face embedding in ONNX (112 px ArcFace crops, RGB, "
            "x / 127.5 - 1; EdgeFace for one); name it with --identity-model FILE or "
            "GPEN_IDENTITY_MODEL=FILE"
        )
    try:
        return _identity_file(settings.identity_model)
    except (ValueError, OSError) as error:
        raise MissingMetric(f"the identity scores cannot be computed: {error}") from error


def _file(name: str) -> Callable[[MetricSettings], list[Path]]:
    """The file that the settings name, as a record of weights."""
    return lambda settings: [Path(getattr(settings, name))]


def _lpips(backbone: str, network: str) -> Metric:
    return Metric(
        f"LPIPS ({backbone})", "lpips 0.1", f"{network}, torchvision's ImageNet weights", "RGB", "lower",
        f"{LPIPS_BACKBONES[backbone]} in $TORCH_HOME/hub/checkpoints",
        functools.partial(load_lpips, backbone), weights=lambda settings: lpips_weights(backbone),
    )  # fmt: skip


Y = "Y of BT.601, 16..235"
SKIMAGE_SSIM = "scikit-image, 7 px uniform window"
OWN_SQUEEZENET = "this project, with the heads of lpips 0.1"
CAFFE = "SqueezeNet 1.1, Caffe weights"
NPZ = "--squeezenet FILE or $GPEN_SQUEEZENET"
INCEPTION = "Inception-v3 of the original FID, 2048 features"
INCEPTION_FILE = f"{fid.cached(fid.URL).name} in $TORCH_HOME/hub/checkpoints"
OWN_ONNX = "this project, onnxruntime"
ONNX = "--identity-model FILE or $GPEN_IDENTITY_MODEL"
METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR (RGB)", "scikit-image", "none", "RGB", "higher", "nothing", pixels.each(pixels.psnr)),
    "psnr_y": Metric("PSNR (Y)", "scikit-image", "none", Y, "higher", "nothing", pixels.each(pixels.psnr, pixels.luma)),
    "ssim": Metric("SSIM (RGB)", SKIMAGE_SSIM, "none", "RGB", "higher", "nothing", pixels.each(pixels.ssim)),
    "ssim_y": Metric("SSIM (Y)", SKIMAGE_SSIM, "none", Y, "higher", "nothing", pixels.each(pixels.ssim, pixels.luma)),
    "lpips_alex": _lpips("alex", "AlexNet"),
    "lpips_vgg": _lpips("vgg", "VGG-16"),
    "lpips_squeeze": _lpips("squeeze", "SqueezeNet 1.1"),
    "squeezenet": Metric(
        "SqueezeNet distance", OWN_SQUEEZENET, CAFFE, "BGR", "lower", NPZ,
        lambda settings: _load_squeezenet(settings).distance, weights=_file("squeezenet"),
    ),
    "fid": Metric(
        "FID (true images)", "pytorch-fid", INCEPTION, "RGB", "lower", INCEPTION_FILE, fid.load_inception,
        "truths", "inception", fid.fid, weights=fid.fid_weights,
    ),
    "fid_statistics": Metric(
        "FID (given statistics)", "pytorch-fid", INCEPTION, "RGB", "lower", f"{INCEPTION_FILE}; --fid-statistics FILE.npz",
        fid.load_with_statistics, "statistics", "inception", fid.fid, fid.statistics,
        lambda settings: [*fid.fid_weights(settings), Path(settings.fid_statistics)],
    ),
    "kid": Metric(
        "KID (true images)", "this project, on pytorch-fid's features, all pairs", INCEPTION, "RGB", "lower", INCEPTION_FILE,
        fid.load_inception, "truths", "inception", fid.kid, weights=fid.fid_weights,
    ),
    "squeezenet_fd": Metric(
        "SqueezeNet Fréchet distance", "this project", f"{CAFFE}, mean of the last fire module", "BGR", "lower", NPZ,
        lambda settings: _load_squeezenet(settings).features, "truths", "squeezenet", frechet_distance,
        weights=_file("squeezenet"),
    ),
    "niqe": Metric(
        "NIQE", "this project", "none; the authors' pristine model", Y, "lower",
        "--niqe-parameters FILE or $GPEN_NIQE_PARAMETERS", niqe.load_published, "nothing", weights=_file("niqe_parameters"),
    ),
    "niqe_fitted": Metric(
        "NIQE (fitted on faces)", "this project", "none; pristine model of generated faces at 256 px, or yours", Y, "lower",
        "nothing; --niqe-faces FILE for a model of your own", niqe.load_fitted, "nothing", weights=_file("niqe_faces"),
    ),
    "identity": Metric(
        "Identity (cosine)", OWN_ONNX, "the embedding you name", "RGB", "higher", ONNX,
        lambda settings: _load_identity(settings).cosine, weights=_file("identity_model"),
    ),
    "identity_angle": Metric(
        "Identity (angle, rad)", OWN_ONNX, "the embedding you name", "RGB", "lower", ONNX,
        lambda settings: _load_identity(settings).angle, weights=_file("identity_model"),
    ),
    "landmarks": Metric(
        "Landmark distance", "facenet-pytorch", "MTCNN, five points; over the distance between the eyes", "RGB", "lower",
        "the package's own weights", lambda settings: landmarks.load_landmarks().distance,
    ),
}  # fmt: skip
DEFAULT_METRICS = tuple(name for name in METRICS if name not in ("lpips_vgg", "lpips_squeeze"))


def per_image(name: str) -> bool:
    """Whether the metric has a value for each image, and not one for the set."""
    return METRICS[name].against in ("truth", "nothing")


def needs_truth(name: str) -> bool:
    return METRICS[name].against in ("truth", "truths")


def load_metrics(names: Iterable[str], settings: MetricSettings) -> tuple[dict[str, Scorer | Judge | Features], dict[str, str]]:
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
def _load(name: str, settings: MetricSettings) -> Scorer | Judge | Features:
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
    if sets := [name for name in names if name in METRICS and not per_image(name)]:
        raise GPENError(f"{sets[0]} compares sets of images, not two images")
    functions, missing = load_metrics(names, settings or MetricSettings())
    values = {name: score(*([image], [truth])[: 2 if needs_truth(name) else 1])[0] for name, score in functions.items()}
    return {name: (values | missing)[name] for name in names}
