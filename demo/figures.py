"""The playground's figures as HTML: the formula, the steps, the comparison with its error maps, the table.

Images stand in the HTML itself as PNG data, so a visitor's face is in no file that an address could reach.
The terms' colours (blur, scale, noise, jpeg) are the same as the sliders'; demo/style.css holds them.
"""

from __future__ import annotations

import html
import re

import cv2
import numpy as np

from demo import images
from demo.experiment import METHODS, Experiment
from eval.metrics import METRICS
from gpen.degradation import Degradation

ERROR_SCALE = 64  # of 255: the error that the colour map's upper end stands for; larger ones look the same
_COLOUR_MAP = cv2.COLORMAP_MAGMA

_TERMS = (  # the terms of Degradation.formula(), and the class that colours each
    (r"∗ \w+\([^)]*\)", "blur"),
    (r"↓[\d.e+]+", "scale"),
    (r"\+ n\([^)]*\)", "noise"),
    (r"JPEG_\d+", "jpeg"),
)
_STEPS = {  # step: (term, class, caption)
    "original": ("I", "", "original"),
    "recoloured": ("+ colour", "", "colour shift"),
    "grey": ("grey", "", "without colours"),
    "shifted": ("shift", "", "displaced"),
    "hazy": ("haze", "", "towards white"),
    "blurred": ("∗ k", "blur", "blurred"),
    "downsampled": ("↓ s", "scale", "downsampled"),
    "noisy": ("+ n", "noise", "noisy"),
    "jpeg": ("JPEG", "jpeg", "compressed"),
    "resized": ("resize", "", "enlarged"),
}
_SHOWN = {  # metric: (short title, unit, decimals)
    "psnr": ("PSNR", "dB", 2),
    "ssim": ("SSIM", "", 4),
    "lpips_alex": ("LPIPS", "AlexNet", 4),
}


def formula(degradation: Degradation) -> str:
    """I_d with this degradation's numbers, each term in its colour; terms that are off do not appear."""
    text = html.escape(degradation.formula())
    for pattern, name in _TERMS:
        text = re.sub(pattern, lambda match, name=name: f'<b class="term {name}">{match[0]}</b>', text)
    text = re.sub(r"JPEG_(\d+)", r"JPEG<sub>\1</sub>", text).replace("I_d", "I<sub>d</sub>", 1)
    return f'<div class="formula" role="math">{text}</div>'


def steps(experiment: Experiment) -> str:
    """One picture for each step that is on, with its size in pixels."""
    figures = []
    for name, image in experiment.steps.items():
        term, colour, caption = _STEPS[name]
        h, w = image.shape[:2]
        label = f'<b class="term {colour}">{term}</b> {caption} <small>{w} × {h}</small>'
        figures.append(_figure(image, f"The face, {caption}, {w} by {h} pixels", label))
    return f'<div class="strip">{"".join(figures)}</div>'


def comparison(experiment: Experiment) -> str:
    """Bilinear beside GPEN beside the original; under the first two their errors, on one scale of colours."""
    target = experiment.target
    tiles = [
        _figure(experiment.degraded, "The degraded face, enlarged bilinearly", "<b>Bilinear</b>"),
        _figure(experiment.restored, "The face restored by GPEN", f"<b>GPEN</b> in {experiment.seconds:.2f} s"),
        _figure(target, "The original face", "<b>Original</b>"),
    ]
    for method, image in zip(METHODS, (experiment.degraded, experiment.restored), strict=True):
        error = absolute_error(image, target)
        label = f"<b>Error</b> of {method}, mean {error.mean():.1f}"
        tiles.append(_figure(error_map(error), f"Where {method} differs from the original", label))
    return f'<div class="comparison">{"".join(tiles)}{_legend()}</div>'


def absolute_error(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mean over the channels of |image - target|: uint8 RGB [h, w, 3] twice -> float32 [h, w], 0 to 255."""
    return cv2.absdiff(image, target).mean(axis=2, dtype=np.float32)


def error_map(error: np.ndarray) -> np.ndarray:
    """float [h, w] -> uint8 RGB [h, w, 3] in magma's colours: black is 0, the lightest ERROR_SCALE."""
    levels = np.clip(error * (255 / ERROR_SCALE), 0, 255).astype(np.uint8)  # [h, w]
    return cv2.cvtColor(cv2.applyColorMap(levels, _COLOUR_MAP), cv2.COLOR_BGR2RGB)


def table(experiment: Experiment) -> str:
    """Each metric for each method, the better in bold; under it, why a metric is missing and the way out."""
    scores = experiment.scores
    head = "".join(_heading(name) for name in _SHOWN)
    rows = ""
    for method in METHODS:
        cells = "".join(_cell(name, scores[method][name], [scores[m][name] for m in METHODS]) for name in _SHOWN)
        rows += f'<tr><th scope="row" class="method">{method}</th>{cells}</tr>'
    notes = {title: scores[METHODS[0]][name] for name, (title, _, _) in _SHOWN.items()}
    missing = "".join(
        f"<details><summary>{title} is not available here: why, and the way out</summary><p>{html.escape(note)}</p></details>"
        for title, note in notes.items()
        if isinstance(note, str)
    )
    return f'<table class="scores"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>{missing}'


def _heading(name: str) -> str:
    title, unit, _ = _SHOWN[name]
    hint = "↓ lower is better" if METRICS[name].lower_better else "↑ higher is better"
    return f'<th scope="col">{title} <small>{unit}</small><small class="hint">{hint}</small></th>'


def _cell(name: str, score: float | str, both: list[float | str]) -> str:
    if isinstance(score, str):
        return '<td class="missing" title="not available">–</td>'
    _, _, decimals = _SHOWN[name]
    text = "∞" if score == float("inf") else f"{score:.{decimals}f}"
    best = score == (min if METRICS[name].lower_better else max)(both) and both[0] != both[1]
    return f'<td class="best"><b>{text}</b></td>' if best else f"<td>{text}</td>"


def _legend() -> str:
    ramp = error_map(np.linspace(0, ERROR_SCALE, 9, dtype=np.float32)[None])[0]  # [9, 3]
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in ramp.tolist())
    return (
        f'<div class="legend"><div class="ramp" style="background: linear-gradient(to right, {stops})"></div>'
        f'<div class="ticks"><span>0</span><span>{ERROR_SCALE // 2}</span><span>≥ {ERROR_SCALE}</span></div>'
        "<p>Absolute error of each pixel, mean of the three channels, in levels of 255. "
        "Both maps share this scale.</p></div>"
    )


def _figure(image: np.ndarray, alternative: str, caption: str) -> str:
    h, w = image.shape[:2]
    alternative = html.escape(alternative, quote=True)
    return (
        f'<figure><img src="{images.data_uri(image)}" width="{w}" height="{h}" alt="{alternative}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
