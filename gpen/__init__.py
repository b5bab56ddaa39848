"""GPEN: blind face restoration with a GAN prior (Yang et al., CVPR 2021)."""

from .checkpoints import load, load_discriminator, save, to_published
from .degradation import Degradation
from .errors import GPENError
from .network import GPEN, Discriminator, GPENConfig
from .restore import Restorer
from .version import __version__

__all__ = [
    "GPEN", "Degradation", "Discriminator", "GPENConfig", "GPENError", "Restorer",
    "__version__", "load", "load_discriminator", "save", "to_published",
]  # fmt: skip
