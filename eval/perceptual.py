"""LPIPS (R. Zhang et al., CVPR 2018), the lpips package's own, version 0.1, on torchvision's ImageNet weights."""

import warnings
from collections.abc import Callable

import numpy as np
import torch

from eval.weights import MetricSettings, MissingMetric, cached, checkpoint
from gpen.compat import patch_torchvision

LPIPS_BACKBONES = {  # the files that torchvision downloads
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}


def url(backbone: str) -> str:
    return f"https://download.pytorch.org/models/{LPIPS_BACKBONES[backbone]}"


def load_lpips(backbone: str, settings: MetricSettings) -> Callable[[list[np.ndarray], list[np.ndarray]], list[float]]:
    """scorer(images, truths) -> LPIPS of each pair of uint8 RGB [h, w, 3]: 0 for identical images, then upwards."""
    path = checkpoint(url(backbone), f"lpips_{backbone}", settings.verify)
    patch_torchvision()
    try:
        import lpips
    except ImportError as error:
        raise MissingMetric(f"lpips_{backbone} needs its package ({error}); pip install lpips") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips asks torchvision for weights in a deprecated way
        try:
            net = lpips.LPIPS(net=backbone, verbose=False).to(settings.device)
        except RuntimeError as error:
            raise MissingMetric(
                f"lpips_{backbone}: {path} does not fit the network; delete it and fetch {url(backbone)} again"
            ) from error

    def tensor(image: np.ndarray) -> torch.Tensor:
        return lpips.im2tensor(image).to(settings.device)  # [1, 3, h, w] in [-1, 1]

    @torch.inference_mode()
    def scorer(images: list[np.ndarray], truths: list[np.ndarray]) -> list[float]:
        # one pair at a time: a batch of them differs from the library's own value in the last digit
        return [net(tensor(a), tensor(b)).item() for a, b in zip(images, truths, strict=True)]

    return scorer


def lpips_weights(backbone: str) -> list:
    return [cached(url(backbone))]
