"""HTML of the playground: formula, steps, comparison with error maps, table of scores.

Images are embedded as PNG data URIs, so that the face of a visitor is not stored in a file with a URL. The colours of the
terms (blur, scale, noise, jpeg) are defined in demo/static/base.css and are the same as those of the sliders.
"""

from __future__ import annotations

import html
import re

import cv2
import numpy as np

from demo import images
from demo.experiment import METHODS, Experiment
from eval.metrics.registry import METRICS
from eval.report.tables import SEEN_MARK, seen_note
from gpen.degradation.degradation import Degradation

ERROR_SCALE = 64  # absolute error, 0 to 255, at the upper end of the colour map; larger errors are clipped
BOLD_NOTE = "Bold: the better value for this one face. It does not show which method is better in general."
_COLOUR_MAP = cv2.COLORMAP_MAGMA

_TERMS = (  # patterns of the terms in Degradation.formula(), with their CSS class
    (r"∗ \w+\([^)]*\)", "blur"),
    (r"↓[\d.e+]+( bicubic)?", "scale"),
    (r"\+ n\([^)]*\)", "noise"),
    (r"JPEG_\d+", "jpeg"),
)
_STEPS = {  # step: (term, class, caption)
    "original": ("I", "", "original"),
    "grey": ("grey", "", "converted to grey"),
    "shifted": ("shift", "", "displaced"),
    "hazy": ("haze", "", "towards white"),
    "blurred": ("∗ k", "blur", "blurred"),
    "downsampled": ("↓ s", "scale", "downsampled"),
    "noisy": ("+ n", "noise", "noisy"),
    "jpeg": ("JPEG", "jpeg", "compressed"),
    "resized": ("resize", "", "enlarged"),
    "recoloured": ("colour", "", "colours changed"),
}
_METRIC_COLUMNS = {  # metric: (title, unit, decimals)
    "psnr": ("PSNR", "dB", 2),
    "ssim": ("SSIM", "", 4),
    "lpips_alex": ("LPIPS", "AlexNet", 4),
}


def formula(degradation: Degradation) -> str:
    """Return the formula with the numbers of the degradation, each term in its colour.

    Disabled terms are omitted.
    """
    text = html.escape(degradation.formula())
    for pattern, name in _TERMS:
        text = re.sub(pattern, rf'<b class="term {name}">\g<0></b>', text)
    text = re.sub(r"JPEG_(\d+)", r"JPEG<sub>\1</sub>", text).replace("I_d", "I<sub>d</sub>", 1)
    return f'<div class="formula" role="math">{text}</div>'


def steps(experiment: Experiment) -> str:
    """Return one image for each enabled step, with its size in pixels."""
    figures = []
    for name, image in experiment.steps.items():
        term, colour, caption = _STEPS[name]
        h, w = image.shape[:2]
        label = f'<b class="term {colour}">{term}</b> {caption} <small>{w} × {h}</small>'
        figures.append(_figure(image, f"The face, {caption}, {w} by {h} pixels", label))
    return f'<div class="strip">{"".join(figures)}</div>'


def comparison(experiment: Experiment) -> str:
    """Return bilinear, GPEN and the original side by side, with error maps below on one colour scale."""
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
    """Return the mean over channels of |image - target|.

    uint8 RGB [h, w, 3] twice -> float32 [h, w], 0 to 255.
    """
    return cv2.absdiff(image, target).mean(axis=2, dtype=np.float32)


def error_map(error: np.ndarray) -> np.ndarray:
    """Map errors, float [h, w], to magma colours, uint8 RGB [h, w, 3].

    Black is 0, the brightest colour is ERROR_SCALE.
    """
    levels = np.clip(error * (255 / ERROR_SCALE), 0, 255).astype(np.uint8)  # [h, w]
    return cv2.cvtColor(cv2.applyColorMap(levels, _COLOUR_MAP), cv2.COLOR_BGR2RGB)


def table(experiment: Experiment) -> str:
    """Return a table of methods and metrics, with the better value in bold.

    Notes below it explain metrics seen in training and missing metrics.
    """
    scores = experiment.scores
    head = "".join(_heading(name) for name in _METRIC_COLUMNS)
    rows = ""
    for method in METHODS:
        cells = "".join(_score_cell(name, scores[method][name], [scores[m][name] for m in METHODS]) for name in _METRIC_COLUMNS)
        rows += f'<tr><th scope="row" class="method">{method}</th>{cells}</tr>'
    notes = {title: scores[METHODS[0]][name] for name, (title, _, _) in _METRIC_COLUMNS.items()}
    missing = "".join(
        f"<details><summary>{title} is not available: reason and solution</summary><p>{html.escape(note)}</p></details>"
        for title, note in notes.items()
        if isinstance(note, str)
    )
    note = seen_note(_METRIC_COLUMNS)
    seen = f"<p>{html.escape(note)}</p>" if note else ""
    bold = f"<p>{BOLD_NOTE}</p>" if 'class="best"' in rows else ""
    return f'<table class="scores"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>{bold}{seen}{missing}'


def _heading(name: str) -> str:
    title, unit, _ = _METRIC_COLUMNS[name]
    hint = "↓ lower is better" if METRICS[name].lower_better else "↑ higher is better"
    mark = f" {SEEN_MARK}" * METRICS[name].seen_in_training
    return f'<th scope="col">{title}{mark} <small>{unit}</small><small class="hint">{hint}</small></th>'


def _score_cell(name: str, score: float | str, both: list[float | str]) -> str:
    if isinstance(score, str):
        return '<td class="missing" title="not available">–</td>'
    _, _, decimals = _METRIC_COLUMNS[name]
    text = "∞" if score == float("inf") else f"{score:.{decimals}f}"
    best = score == (min if METRICS[name].lower_better else max)(both) and both[0] != both[1]
    return f'<td class="best"><b>{text}</b></td>' if best else f"<td>{text}</td>"


def _legend() -> str:
    ramp = error_map(np.linspace(0, ERROR_SCALE, 9, dtype=np.float32)[None])[0]  # [9, 3]
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in ramp.tolist())
    return (
        f'<div class="legend"><div class="ramp" style="background: linear-gradient(to right, {stops})"></div>'
        f'<div class="ticks"><span>0</span><span>{ERROR_SCALE // 2}</span><span>≥ {ERROR_SCALE}</span></div>'
        "<p>Absolute error of each pixel, mean of the three channels, on the scale 0 to 255. "
        "Both maps use this scale.</p></div>"
    )


def _figure(image: np.ndarray, alt_text: str, caption: str) -> str:
    h, w = image.shape[:2]
    alt_text = html.escape(alt_text, quote=True)
    return (
        f'<figure><img src="{images.data_uri(image)}" width="{w}" height="{h}" alt="{alt_text}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
