"""Controls of the playground, and their conversion from and to a Degradation.

There is one group of controls for each term of the formula; settings that few visitors need follow below.

On the page 0 (1 for the scale) stands for "off", where gpen.Degradation has None. JPEG has a checkbox, since no quality
value means "off". Parameters of presets and files without a slider (EXTRA_FIELDS) are kept in the session state and can be
dropped with a checkbox.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from demo import experiment, languages
from demo.experiment import SLIDER_RANGES
from gpen.degradation.degradation import BLUR_KINDS, Degradation

CONTROL_NAMES = (  # order of the values in read() and write()
    "blur_sigma", "blur_kind", "blur_sigma_y", "blur_angle", "kernel_size",
    "scale", "noise_sigma", "jpeg", "jpeg_quality", "grey", "seed",
)  # fmt: skip
MAIN_SLIDERS = ("blur_sigma", "scale", "noise_sigma", "jpeg_quality")  # labelled by the heading of their group
EXTRA_DEFAULTS = {field.name: field.default for field in fields(Degradation) if field.name in experiment.EXTRA_FIELDS}


def build(start: Degradation) -> tuple[dict[str, Any], gr.Checkbox]:
    """Build the controls with the values of `start`.

    Returns them by name, and the checkbox for the extras.
    """
    box: dict[str, Any] = {}
    values = _values(start)

    def slider(name: str, step: float, label: I18nData, visible: bool = True) -> None:
        low, high = SLIDER_RANGES[name]
        box[name] = gr.Slider(
            low,
            high,
            values[name],
            step=step,
            label=label,
            visible=visible,
            buttons=[],
            elem_id=name.replace("_", "-"),
            elem_classes="main" if name in MAIN_SLIDERS else None,
        )

    with gr.Column(elem_id="terms"):
        with gr.Column(elem_classes="term-group blur"):
            gr.HTML(_heading("blur", "∗ k"))
            slider("blur_sigma", 0.05, languages.text("playground.first.controls.blur_name"))
        with gr.Column(elem_classes="term-group scale"):
            gr.HTML(_heading("scale", "↓ s"))
            slider("scale", 0.05, languages.text("playground.first.controls.scale_name"))
        with gr.Column(elem_classes="term-group noise"):
            gr.HTML(_heading("noise", "+ n"))
            slider("noise_sigma", 0.1, languages.text("playground.first.controls.noise_name"))
        with gr.Column(elem_classes="term-group jpeg"):
            with gr.Row(elem_classes="heading"):
                gr.HTML(_heading("jpeg", "q"))
                on = languages.text("playground.first.controls.on")
                box["jpeg"] = gr.Checkbox(values["jpeg"], label=on, container=False, min_width=60, scale=0, elem_id="jpeg")
            slider("jpeg_quality", 1, languages.text("playground.first.controls.jpeg_name"))
    with gr.Row(elem_id="last-controls"):
        box["blur_kind"] = gr.Radio(
            [(languages.text(f"playground.first.controls.{kind}"), kind) for kind in BLUR_KINDS], value=start.blur_kind,
            label=languages.text("playground.first.controls.blur_kind"), container=False, elem_id="blur-kind",
        )  # fmt: skip
        grey = languages.text("playground.first.controls.grey")
        box["grey"] = gr.Checkbox(start.grey, label=grey, container=False, min_width=80, elem_id="grey")
        seed = languages.text("playground.first.controls.seed")
        box["seed"] = gr.Number(start.seed, label=seed, precision=0, minimum=0, min_width=120, elem_id="seed")
    with gr.Column(elem_id="blur-shape", elem_classes="blur"):
        slider("blur_sigma_y", 0.05, languages.text("playground.first.controls.blur_sigma_y"), visible=False)
        slider("blur_angle", 1, languages.text("playground.first.controls.blur_angle"), visible=False)
        slider("kernel_size", 1, languages.text("playground.first.controls.kernel_size"), visible=False)
    extras = languages.text("playground.first.controls.extras")
    keep_extras = gr.Checkbox(True, label=extras, visible=False, container=False, elem_id="extras")
    return {name: box[name] for name in CONTROL_NAMES}, keep_extras


def fill_empty_fields_js(inputs: list[gr.components.Component], widgets: dict[str, gr.components.Component]) -> str:
    """Return JavaScript that replaces empty number fields by the value for "off" before an event is sent.

    Gradio's sliders reject empty values before any function of this page is called.
    """
    off = {
        id(widgets[name]): value for name, value in _values(Degradation()).items() if name not in ("blur_kind", "jpeg", "grey")
    }
    return f"(...values) => values.map((value, i) => value ?? {json.dumps([off.get(id(box)) for box in inputs])}[i])"


def read(extras: dict, *values: Any) -> Degradation:
    """Return the degradation shown by the controls; `extras` are the fields without a control."""
    named = dict(zip(CONTROL_NAMES, values, strict=True))
    if not named.pop("jpeg"):
        named["jpeg_quality"] = 0
    if named["kernel_size"]:
        named["kernel_size"] = int(named["kernel_size"]) | 1  # the width of a kernel is odd
    named["seed"] = named["seed"] or 0  # empty while a visitor is typing
    return experiment.from_numbers(**named, **extras)


def write(degradation: Degradation) -> list:
    """Return updates for the controls and the checkbox of the extras, and the extras.

    The controls are in the order of CONTROL_NAMES.

    The range of a slider is extended for a value outside of it, from a link or file, and reset by the next value within it.
    """
    shown = {name: gr.update(value=value) for name, value in _values(degradation).items()}
    for name, (low, high) in SLIDER_RANGES.items():
        shown[name] |= {"minimum": min(low, shown[name]["value"]), "maximum": max(high, shown[name]["value"])}
    for name, update in zip(("blur_sigma_y", "blur_angle"), shape_updates(degradation.blur_kind), strict=True):
        shown[name] |= update
    shown["kernel_size"]["visible"] = degradation.kernel_size is not None
    extras = {name: getattr(degradation, name) for name, off in EXTRA_DEFAULTS.items() if getattr(degradation, name) != off}
    listed = ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in extras.items())
    label = f"{languages.text('playground.first.controls.extras')}: {listed}"
    return [shown[name] for name in CONTROL_NAMES] + [
        gr.update(value=True, visible=bool(extras), label=label),
        extras,
    ]


def shape_updates(kind: str) -> list[dict]:
    """Return visibility updates for the second sigma and for the angle, which not every kind of blur has."""
    return [gr.update(visible=kind == "anisotropic"), gr.update(visible=kind != "isotropic")]


def _values(d: Degradation) -> dict:
    """Return the value of each control for a degradation.

    Parameters that no step uses get neutral values.
    """
    return {
        "blur_sigma": d.blur_sigma or 0,
        "blur_kind": d.blur_kind,
        "blur_sigma_y": (d.blur_sigma or 0) if d.blur_sigma_y is None else d.blur_sigma_y,
        "blur_angle": d.blur_angle,
        "kernel_size": d.kernel_size or 0,
        "scale": 1 if d.scale is None else d.scale,
        "noise_sigma": d.noise_sigma or 0,
        "jpeg": d.jpeg_quality is not None,
        "jpeg_quality": d.jpeg_quality or 75,
        "grey": d.grey,
        "seed": d.seed,
    }


def _heading(name: str, term: str) -> str:
    """Return the name of a group of controls, and in small type the term of the formula with its unit."""
    unit = f"playground.first.controls.{name}_unit"
    explained = f" {languages.html(unit)}" if unit in languages.table() else ""
    named = languages.html(f"playground.first.controls.{name}")
    return f'{named} <small><b class="term">{term}</b>{explained}</small>'


def _plain(value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return " ".join(f"{x:.3g}" if isinstance(x, int | float) and not isinstance(x, bool) else str(x).lower() for x in values)
