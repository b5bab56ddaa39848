"""LPIPS (R. Zhang et al., CVPR 2018) of the package lpips 0.1, on torchvision's ImageNet weights."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from eval.metrics.weights import MetricSettings, MissingMetric, cached_path, require_checkpoint
from gpen.compat import patch_torchvision

LPIPS_BACKBONES = {  # file names of torchvision
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}


def url(backbone: str) -> str:
    """The download URL of the weights of a backbone."""
    return f"https://download.pytorch.org/models/{LPIPS_BACKBONES[backbone]}"


def load_lpips(backbone: str, settings: MetricSettings) -> Callable[[list[np.ndarray], list[np.ndarray]], list[float]]:
    """Load LPIPS.

    Returns a function of images and ground truth, uint8 RGB [h, w, 3] each: one value per pair, 0 for identical images.
    """
    path = require_checkpoint(url(backbone), f"lpips_{backbone}", settings.verify)
    patch_torchvision()
    try:
        import lpips
    except ImportError as error:
        raise MissingMetric(f"lpips_{backbone} needs the package lpips ({error}); run pip install lpips.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips uses a deprecated argument of torchvision
        try:
            net = lpips.LPIPS(net=backbone, verbose=False).to(settings.device)
        except RuntimeError as error:
            raise MissingMetric(
                f"lpips_{backbone}: The weights {path} do not fit the network; delete the file and download {url(backbone)}."
            ) from error

    def tensor(image: np.ndarray) -> torch.Tensor:
        return lpips.im2tensor(image).to(settings.device)  # [1, 3, h, w] in [-1, 1]

    @torch.inference_mode()
    def scorer(images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        # one pair at a time, because the values of a batch differ from those of single pairs in the last digit
        return [net(tensor(a), tensor(b)).item() for a, b in zip(images, targets, strict=True)]

    return scorer


def lpips_weights(backbone: str) -> list[Path]:
    """The weight file of a backbone."""
    return [cached_path(url(backbone))]
