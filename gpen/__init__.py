"""GPEN: blind face restoration with a GAN prior (Yang et al., CVPR 2021)."""

from .checkpoints import load, load_discriminator, load_prior, save
from .degradation import Degradation
from .errors import GPENError
from .layout import to_published
from .model_config import GPENConfig
from .network import GPEN, Discriminator, Generator
from .restore import Restorer
from .version import __version__

__all__ = [
    "GPEN", "Degradation", "Discriminator", "GPENConfig", "GPENError", "Generator", "Restorer",
    "__version__", "load", "load_discriminator", "load_prior", "save", "to_published",
]  # fmt: skip
