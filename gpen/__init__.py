"""GPEN: blind face restoration with a GAN prior (Yang et al., CVPR 2021)."""

from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from gpen.models.checkpoints import load, load_discriminator, load_prior, save
from gpen.models.config import GPENConfig
from gpen.models.network import GPEN, Discriminator, Generator
from gpen.models.published import to_published
from gpen.restoration.restorer import Restorer
from gpen.version import __version__

__all__ = [
    "GPEN", "Degradation", "Discriminator", "GPENConfig", "GPENError", "Generator", "Restorer",
    "__version__", "load", "load_discriminator", "load_prior", "save", "to_published",
]  # fmt: skip
