"""Checkpoints with random weights in the cache of torch.hub."""

from unittest import mock

import torch

from eval.metrics.fid import URL
from eval.metrics.lpips import LPIPS_BACKBONES
from gpen.compat import patch_torchvision


def checkpoints(home):
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def place_lpips(backbone, home):
    """The backbone of one of the LPIPS networks; the classifier is a single stored number."""
    patch_torchvision()
    import torchvision

    make = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16, "squeeze": torchvision.models.squeezenet1_1}
    with torch.device("meta"):
        shapes = make[backbone](weights=None).state_dict()
    torch.manual_seed(0)
    state = {
        name: he(meta) if name.startswith("features") else torch.zeros(1).expand(meta.shape) for name, meta in shapes.items()
    }
    torch.save(state, checkpoints(home) / LPIPS_BACKBONES[backbone])


def place_inception(home):
    """Inception of pytorch-fid with features of nonzero variance: 96 MB."""
    patch_torchvision()
    import torchvision
    from pytorch_fid import inception

    shapes = {}
    with (
        mock.patch.object(inception, "load_state_dict_from_url"),
        torch.device("meta"),
        mock.patch.object(torchvision.models.Inception3, "load_state_dict", lambda net, _: shapes.update(net.state_dict())),
    ):
        inception.fid_inception_v3()
    torch.manual_seed(0)
    state = {
        name: torch.ones(meta.shape) if name.endswith(("bn.weight", "running_var")) else he(meta) for name, meta in shapes.items()
    }
    torch.save(state, checkpoints(home) / URL.rsplit("/", 1)[1])


def he(meta):
    """He initialisation for weights, zeros for other parameters."""
    if meta.ndim < 2:
        return torch.zeros(meta.shape, dtype=meta.dtype)
    return torch.randn(meta.shape) * (2 / meta[0].numel()) ** 0.5
