"""HTML of the playground: comparison, formula, steps, maps of errors and of invented detail, table of scores, recipe.

Images of at most MAX_EMBEDDED px are embedded as PNG data URIs, so that all images of an update change at once. The colours
of the terms (blur, scale, noise, jpeg) are defined in demo/static/base.css and are the same as those of the sliders.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import cv2
import gradio as gr
import numpy as np

from demo import compare, images, languages
from demo.experiment import METHODS, VARIATIONS, Experiment
from demo.server import gradio_patches
from eval.metrics.registry import METRICS
from eval.report.tables import SEEN_MARK, seen_note
from gpen.degradation.degradation import Degradation
from gpen.images import downscale

MAX_EMBEDDED = 512  # px
INVENTED_SCALE = 24  # the same for the maps of invented detail, whose values are smaller
ERROR_SCALE = 64  # absolute error, 0 to 255, at the upper end of the colour map; larger errors are clipped
_COLOUR_MAP = cv2.COLORMAP_MAGMA

_TERMS = (  # patterns of the terms in Degradation.formula(), with their CSS class
    (r"∗ \w+\([^)]*\)", "blur"),
    (r"↓[\d.e+]+( bicubic)?", "scale"),
    (r"\+ n\([^)]*\)", "noise"),
    (r"JPEG_\d+", "jpeg"),
)
_STEPS = {  # step of the formula: (term, class)
    "original": ("I", ""),
    "blurred": ("∗ k", "blur"),
    "downsampled": ("↓ s", "scale"),
    "noisy": ("+ n", "noise"),
    "jpeg": ("JPEG", "jpeg"),
    "resized": ("I_d", ""),
}
_EARLY_STEPS = ("grey", "shifted", "hazy")  # steps of some presets, before the blur
_LATE_STEPS = ("recoloured",)  # the same, after the enlargement
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


class Encoder:
    """Encodes each image of one update of the page once as PNG."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}

    def png(self, image: np.ndarray) -> bytes:
        key = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        if key not in self._data:
            self._data[key] = images.png(image)
        return self._data[key]

    def uri(self, image: np.ndarray) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png(image)).decode()


def comparison(experiment: Experiment, encoder: Encoder, component: gr.HTML) -> str:
    """Return the damaged, the restored and the original face for demo.compare; `component` displays them."""
    shown = {"damaged": experiment.degraded, "restored": experiment.restored, "original": experiment.target}

    def address(image: np.ndarray, name: str) -> str:
        if len(image) <= MAX_EMBEDDED:
            return encoder.uri(image)
        path = images.save(encoder.png(image), gradio_patches.upload_folder(), f"{name}.png")
        return compare.file_url(component, path)

    compared = [
        compare.ComparedImage(address(image, name), f"playground.first.{name}", f"playground.first.{name}_image")
        for name, image in shown.items()
    ]
    return compare.render(compared, *experiment.target.shape[1::-1])


def summary(experiment: Experiment) -> str:
    """Return one line with the time of the restoration and the scores of both methods."""
    values = {"seconds": f"{experiment.seconds:.2f}"}
    for name in ("psnr", "ssim"):
        for method, end in zip(METHODS, ("_damaged", ""), strict=True):
            values[name + end] = _number(experiment.scores[method][name], _METRIC_COLUMNS[name][2])
    return f'<p role="status">{languages.html("playground.first.scores", **values)}</p>'


def steps(experiment: Experiment, encoder: Encoder) -> str:
    """Return one image for each step of the formula, in six columns; a step that is off repeats the image before it, dimmed.

    The further steps of some presets follow in a row of their own.
    """
    found = experiment.steps
    early = [name for name in _EARLY_STEPS if name in found]
    figures, image = [], found["original"]
    for name, (term, colour) in _STEPS.items():
        image = found.get(name, image)
        h, w = image.shape[:2]
        caption = languages.html(f"playground.steps.{name if name in found else 'off'}")
        label = f'<b class="term {colour}">{term}</b> {caption} <small>{w} × {h}</small>'
        figures.append(_step(image, label, encoder) if name in found else _figure(image, 'alt=""', label, encoder, "off"))
        if name == "original" and early:
            image = found[early[-1]]
    further = [
        _step(found[name], f"{languages.html(f'playground.steps.{name}')} {languages.html(place, 'small')}", encoder)
        for names, place in ((_EARLY_STEPS, "playground.steps.early"), (_LATE_STEPS, "playground.steps.late"))
        for name in names
        if name in found
    ]
    more = f'<div class="strip">{"".join(further)}</div>' if further else ""
    return f'{languages.html("playground.steps.heading", "h2")}<div class="strip">{"".join(figures)}</div>{more}'


def errors(experiment: Experiment, encoder: Encoder) -> str:
    """Return the error maps of bilinear interpolation and GPEN on one colour scale."""
    tiles = []
    for method, image in zip(METHODS, (experiment.degraded, experiment.restored), strict=True):
        error = absolute_error(image, experiment.target)
        label = languages.html("playground.errors.caption_html", method=method, mean=f"{error.mean():.1f}")
        alt_text = languages.attributes({"method": method}, alt="playground.errors.image")
        tiles.append(_figure(error_map(error), alt_text, label, encoder))
    return f'{languages.html("playground.errors.heading", "h2")}<div class="maps">{"".join(tiles)}{_legend()}</div>'


def invented(spread: np.ndarray, residual: np.ndarray, encoder: Encoder) -> str:
    """Return the maps of the spread over variations and of the residual, float [h, w] each, 0 to 255."""
    tiles = []
    for name, values in (("spread", spread), ("residual", residual)):
        mean = f"{values.mean():.1f}"
        caption = languages.html(f"playground.{name}_html", mean=mean, count=VARIATIONS)
        alt_text = languages.attributes({"mean": mean}, alt=f"playground.{name}")
        tiles.append(_figure(error_map(values, INVENTED_SCALE), alt_text, caption, encoder))
    return f'<div class="maps">{"".join(tiles)}{_legend(INVENTED_SCALE)}</div>'


def recipe(degradation: Degradation) -> str:
    """Return the parameters of the degradation as JSON text."""
    values = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in degradation.to_dict().items())
    heading, label = languages.html("playground.recipe", "h2"), languages.attributes(aria_label="playground.parameters")
    return f'{heading}<pre tabindex="0" {label}>{{\n{html.escape(values)}\n}}</pre>'


def absolute_error(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the mean over channels of |image - target|.

    uint8 RGB [h, w, 3] twice -> float32 [h, w], 0 to 255.
    """
    return cv2.absdiff(image, target).mean(axis=2, dtype=np.float32)


def error_map(error: np.ndarray, scale: float = ERROR_SCALE) -> np.ndarray:
    """Map errors, float [h, w], to magma colours, uint8 RGB [h, w, 3].

    Black is 0, the brightest colour is `scale`.
    """
    levels = np.clip(error * (255 / scale), 0, 255).astype(np.uint8)  # [h, w]
    return cv2.cvtColor(cv2.applyColorMap(levels, _COLOUR_MAP), cv2.COLOR_BGR2RGB)


def table(experiment: Experiment) -> str:
    """Return a table of methods and metrics, with the better value in bold. Metrics without values have no column.

    Notes below it name them, and the metrics seen in training.
    """
    scores = experiment.scores
    shown = [name for name in _METRIC_COLUMNS if not isinstance(scores[METHODS[0]][name], str)]
    head = "".join(_heading(name) for name in shown)
    rows = ""
    for method in METHODS:
        cells = "".join(_score_cell(name, scores[method][name], [scores[m][name] for m in METHODS]) for name in shown)
        rows += f'<tr><th scope="row" class="method">{method}</th>{cells}</tr>'
    bold = languages.html("playground.scores.bold", "p") if 'class="best"' in rows else ""
    seen = f"<p>{html.escape(seen_note(shown))}</p>" if seen_note(shown) else ""
    missing = "".join(
        languages.html("playground.scores.missing", "p", metric=title, network=network)
        for name, (title, network, _) in _METRIC_COLUMNS.items()
        if name not in shown
    )
    below = bold + seen + missing
    return (
        f'{languages.html("playground.scores.heading", "h2")}<table class="scores">'
        f'<caption class="hidden-text">{languages.html("playground.scores.caption")}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>{below}"
    )


def _heading(name: str) -> str:
    title, unit, _ = _METRIC_COLUMNS[name]
    hint = languages.html(f"playground.scores.{'lower' if METRICS[name].lower_better else 'higher'}")
    mark = f" {SEEN_MARK}" * METRICS[name].seen_in_training
    return f'<th scope="col">{title}{mark} <small>{unit}</small><small class="hint">{hint}</small></th>'


def _score_cell(name: str, score: float | str, both: list[float | str]) -> str:
    text = _number(score, _METRIC_COLUMNS[name][2])
    best = score == (min if METRICS[name].lower_better else max)(both) and both[0] != both[1]
    return f'<td class="best"><b>{text}</b></td>' if best else f"<td>{text}</td>"


def _number(score: float | str, decimals: int) -> str:
    return "∞" if score == float("inf") else f"{score:.{decimals}f}"


def _legend(scale: int = ERROR_SCALE) -> str:
    ramp = error_map(np.linspace(0, scale, 9, dtype=np.float32)[None], scale)[0]  # [9, 3]
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in ramp.tolist())
    return (
        f'<div class="legend"><div class="ramp" style="background: linear-gradient(to right, {stops})"></div>'
        f'<div class="ticks"><span>0</span><span>{scale // 2}</span><span>≥ {scale}</span></div>'
        f"{languages.html('playground.errors.legend', 'p')}</div>"
    )


def _step(image: np.ndarray, caption: str, encoder: Encoder) -> str:
    size = dict(zip(("height", "width"), image.shape, strict=False))
    return _figure(image, languages.attributes(size, alt="playground.steps.image"), caption, encoder)


def _figure(image: np.ndarray, alt_text: str, caption: str, encoder: Encoder, class_name: str = "") -> str:
    """Return a figure. `alt_text` is the attribute, `caption` is HTML."""
    h, w = image.shape[:2]
    return (
        f'<figure class="{class_name}"><img src="{encoder.uri(downscale(image, MAX_EMBEDDED))}" width="{w}" height="{h}" '
        f"{alt_text}><figcaption>{caption}</figcaption></figure>"
    )
