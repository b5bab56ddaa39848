"""Layers with spectral norm (Miyato et al., ICLR 2018) and orthogonal initialisation, for the blocks of BigGAN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary


def orthogonal_(weight: Tensor) -> Tensor:
    """Fill weight [outputs, ...] so that its rows, or its columns if they are fewer, are orthonormal; returns it.

    Can be replaced by a TorchFunctionMode: loading a file needs no initialisation.
    """
    if has_torch_function_unary(weight):
        return handle_torch_function(orthogonal_, (weight,), weight)
    return nn.init.orthogonal_(weight)


class SpectralNorm(nn.Module):
    """A weight with spectral norm; one power iteration per forward pass."""

    u: Tensor  # [outputs]

    def __init__(self, *shape: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(orthogonal_(torch.randn(shape)))  # [outputs, inputs, ...]
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.register_buffer("u", F.normalize(torch.randn(shape[0]), dim=0))

    def normalized_weight(self) -> Tensor:
        """The weight, divided by an estimate of its largest singular value; autocast does not reduce its precision."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)  # [outputs, inputs * k * k]
            with torch.no_grad():
                v = F.normalize(self.u @ matrix, dim=0)
                u = F.normalize(matrix @ v, dim=0)
                if self.training:
                    self.u.copy_(u)
            return self.weight / (u @ matrix @ v)


class SpectralConv2d(SpectralNorm):
    """Convolution with spectral norm and bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__(outputs, inputs, kernel, kernel)

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs, h, w] -> [n, outputs, h, w]
        return F.conv2d(x, self.normalized_weight(), self.bias, padding=self.weight.shape[-1] // 2)


class SpectralLinear(SpectralNorm):
    """Linear layer with spectral norm."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        super().__init__(outputs, inputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs] -> [n, outputs]
        return F.linear(x, self.normalized_weight(), self.bias)
