"""Metrics of the package pyiqa (IQA-PyTorch), which is optional: its licence permits non-commercial use only.

    pip install "gpen[iqa]"

pyiqa downloads the weights of a metric when the metric is used for the first time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from eval.metrics.weights import MetricSettings, MissingMetric
from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.optional import import_optional

LICENCE = "PolyForm Noncommercial 1.0.0: non-commercial use only"  # of pyiqa; some of its networks: S-Lab License 1.0, likewise


def load_iqa(name: str, mode: str, lower_better: bool, settings: MetricSettings) -> Callable[..., list[float]]:
    """Load a metric of pyiqa by its name there, such as "topiq_nr-face".

    mode: "FR", a function of images and ground truth, or "NR", of images: uint8 RGB [h, w, 3] each -> a value per image. Raises
    MissingMetric if the package or its weights are missing, or if its mode or its direction is another one.
    """
    patch_torchvision()
    try:
        pyiqa = import_optional("pyiqa", "iqa", name)
    except GPENError as error:
        raise MissingMetric(f"{error} The licence of pyiqa is {LICENCE}.") from None
    try:
        metric = pyiqa.create_metric(name, device=torch.device(settings.device))
    except Exception as error:  # of its downloads and networks
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise MissingMetric(f"pyiqa cannot load {name} ({reason}); check the connection, from which it loads weights.") from error
    if (metric.metric_mode, bool(metric.lower_better)) != (mode, lower_better):
        raise MissingMetric(f"{name} of this version of pyiqa has another mode or direction; install pyiqa 0.1.10 or later.")

    def tensor(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255).to(settings.device)  # [1, 3, h, w] in [0, 1]

    @torch.inference_mode()
    def scorer(*sets: list[np.ndarray]) -> list[float]:
        return [_value(metric(*map(tensor, images))) for images in zip(*sets, strict=True)]

    return scorer


def _value(output: Any) -> float:
    """The value in the output of a metric, a tensor of one element."""
    return float(torch.as_tensor(output).reshape(-1)[0])
