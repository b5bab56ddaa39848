"""The Playground tab: degrade a face, restore it live, and compare both with the original.

The face of a visitor is kept in the session state and in the page. Only the images of the two sliders and the downloads
are files, in gradio's cache, which is emptied by age. The layout is in demo/static/playground.css.
"""

from __future__ import annotations

import functools
import html
import secrets
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr
import numpy as np

import gpen
from demo import components, experiment, figures, images, permalink, samples
from demo.server import gradio_patches, zerogpu
from gpen.degradation.degradation import PRESETS, Degradation
from gpen.errors import GPENError

P = ParamSpec("P")
R = TypeVar("R")
# one restoration at a time, since each uses all cores
NETWORK_LIMIT: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}
MAX_SEED = 10_000  # of random samples: short numbers are easy to share
INITIAL_PRESET = "gpen-release-scaled"  # the same strength at the size of every network: docs/evaluation.md
MAX_ATTEMPTS = 50  # attempts to sample a scale of at least MIN_SCALE; presets for small networks contain smaller ones
INITIAL_DEGRADATION = Degradation(blur_sigma=2.0, scale=4.0, noise_sigma=8.0, jpeg_quality=60)  # on the initial page
_INTRO = "<p>Degrade a face by the formula, restore it with the network, and compare the result with bilinear interpolation.</p>"
_NO_FACE = "No face was found: the centre of the image is used. An upright face that fills the image works best."


def tab(restorer: gpen.Restorer) -> None:
    """Build the playground inside the current gr.Blocks. `restorer` is a gpen.Restorer."""
    size = restorer.net.size
    faces = samples.load(size)
    first_face = next(iter(faces.values()))

    def restored(image: np.ndarray, degradation: Degradation) -> list:
        return _views(experiment.run(restorer, image, degradation))

    face, extras = gr.State(first_face), gr.State({})
    starter = zerogpu.startup_restorer(restorer)
    starter.face(first_face)  # warm-up: the first call is slower, and the page shows the time
    first_views = _views(experiment.run(starter, first_face, INITIAL_DEGRADATION))
    gr.HTML(_INTRO, elem_id="sentence")
    with gr.Row(elem_id="bench"):
        sliders = _before_after(first_views[:2])
        with gr.Column(elem_id="controls"):
            upload, gallery = _face_controls(faces)
            with gr.Row(elem_id="draw"):
                preset = gr.Dropdown(
                    list(PRESETS), value=INITIAL_PRESET, label="Sample from a preset", scale=3, min_width=140, elem_id="preset"
                )
                dice = gr.Button("⚄ Sample", elem_id="dice", scale=1, min_width=80, variant="primary")
            widgets, keep_extras = components.build(INITIAL_DEGRADATION)
        with gr.Column(elem_id="rest"):
            names = ("formula", "steps", "comparison", "table")
            boxes = [gr.HTML(value, elem_id=name) for value, name in zip(first_views[2:6], names, strict=True)]
            downloads, load, link = _files(first_views[6:])
            address = gr.Textbox(visible=False)

    views = [*sliders, *boxes, *downloads]
    settings = [*widgets.values(), keep_extras, extras]  # set by a sampled preset or a loaded file
    inputs = [face, extras, keep_extras, *widgets.values()]

    @show_user_errors
    def live(image: np.ndarray, extras: dict, keep: bool, *values: Any) -> list:
        return restored(image, components.read(extras if keep else {}, *values))

    @show_user_errors
    def draw(image: np.ndarray, name: str, seed: float) -> list:
        degradation = experiment.sample(name, seed, size)
        return components.write(degradation) + restored(image, degradation)

    @show_user_errors
    def roll(image: np.ndarray, name: str) -> list:
        for _ in range(MAX_ATTEMPTS):
            seed = secrets.randbelow(MAX_SEED)
            if (experiment.sample(name, seed, size).scale or 1) >= experiment.MIN_SCALE:
                break
        return draw(image, name, seed)

    @show_user_errors
    def load_parameters(image: np.ndarray, data: bytes) -> list:
        degradation = experiment.from_json(data)
        return components.write(degradation) + restored(image, degradation)

    @show_user_errors
    def open_link(image: np.ndarray, text: str) -> list:
        degradation = permalink.from_query(text)
        if degradation is None:
            return [gr.skip() for _ in settings + views]
        return components.write(degradation) + restored(image, degradation)

    @show_user_errors
    def to_link(extras: dict, keep: bool, *values: Any) -> str:
        return permalink.to_query(components.read(extras if keep else {}, *values))

    def choose(path: str | None, old: np.ndarray, *rest: Any) -> list:
        unchanged = [None, old, *[gr.skip()] * len(views)]
        if path is None:  # the upload was cleared: keep the face
            return unchanged
        try:
            image, found = images.find_face(path, size, restorer.detector)
        except GPENError as error:
            gr.Warning(html.escape(str(error)), duration=20)
            return unchanged
        if not found:
            gr.Info(_NO_FACE, duration=8)
        return [path, image, *live(image, *rest)]

    def choose_sample(event: gr.SelectData, *rest: Any) -> list:
        image = list(faces.values())[event.index]
        return [None, image, *live(image, *rest)]

    private: dict[str, Any] = {"api_visibility": "private"}
    changed = [widget.input for widget in (*widgets.values(), keep_extras)]
    quiet: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden", **NETWORK_LIMIT, **private}
    gr.on(changed, live, inputs, views, js=components.fill_empty_fields_js(inputs, widgets), **quiet)
    shape = [widgets["blur_sigma_y"], widgets["blur_angle"]]
    widgets["blur_kind"].input(
        components.shape_updates, widgets["blur_kind"], shape, queue=False, show_progress="hidden", **private
    )
    slow: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": sliders[0], **NETWORK_LIMIT, **private}
    preset.input(draw, [face, preset, widgets["seed"]], settings + views, **slow)
    dice.click(roll, [face, preset], settings + views, trigger_mode="always_last", **slow)
    load.upload(load_parameters, [face, load], settings + views, **slow)
    copied = link.click(to_link, inputs[1:], address, queue=False, show_progress="hidden", **private)
    copied.then(None, address, js=permalink.COPY_LINK_JS, **private)
    gradio_patches.current_page().load(
        open_link, [face, address], settings + views, js="(face, _) => [face, location.search]", **slow
    )
    upload.input(choose, [upload, *inputs], [upload, face, *views], **slow)
    gallery.select(choose_sample, inputs[1:], [upload, face, *views], **slow)


def show_user_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate an event function: a GPENError is shown as a message on the page, without a traceback."""

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        except GPENError as error:
            # displayed as HTML text; quotes need no escaping, and API clients receive the same message
            raise gr.Error(html.escape(str(error), quote=False), duration=20, print_exception=False) from None

    return wrapper


def image_input(**settings: Any) -> gr.Image:
    """Return a gr.Image that passes the path of the uploaded file without decoding it.

    gr.Image would decode the file without size limits and report no reason for a damaged one. Do not send a gr.update to
    this component: it would create a new one.
    """
    component = gr.Image(type="filepath", image_mode=None, **settings)
    folder = gradio_patches.upload_folder()
    # a payload without a path contains data instead of a file
    gradio_patches.set_preprocess(component, lambda payload: payload and images.uploaded_path(payload.path, folder))
    return component


def _before_after(values: list) -> list[gr.ImageSlider]:
    sliders = []
    names = {"before-after": "Degraded | Restored", "towards-original": "Restored | Original"}
    for value, (name, label) in zip(values, names.items(), strict=True):
        with gr.Column(elem_id=name, min_width=280):
            sliders.append(gr.ImageSlider(value, label=label, format="png", buttons=["fullscreen"], interactive=False))
    return sliders


def _face_controls(faces: dict[str, np.ndarray]) -> tuple[gr.Image, gr.Gallery]:
    with gr.Row(elem_id="face"):
        upload = image_input(
            sources=["upload", "webcam", "clipboard"], show_label=False, placeholder="Upload a face", height=168,
            elem_id="upload", buttons=[], min_width=140, webcam_options=gr.WebcamOptions(mirror=False),
        )  # fmt: skip
        gallery = gr.Gallery(
            list(faces.values()), format="png", show_label=False, columns=3, height=168, allow_preview=False,
            elem_id="samples", buttons=[], min_width=140,
        )  # fmt: skip
    return upload, gallery


def _files(values: list) -> tuple[list[gr.DownloadButton], gr.UploadButton, gr.Button]:
    settings: dict[str, Any] = {"size": "sm", "min_width": 150}
    names = {"degraded": "↓ Degraded PNG", "restored": "↓ Restored PNG", "parameters": "↓ Parameters JSON"}
    with gr.Row(elem_id="files"):
        downloads = [
            gr.DownloadButton(label, value, elem_id=f"download-{name}", **settings)
            for value, (name, label) in zip(values, names.items(), strict=True)
        ]
        load = gr.UploadButton("↑ Load parameters", file_types=[".json"], type="binary", elem_id="load", **settings)
        link = gr.Button("⧉ Copy link", elem_id="copy-link", **settings)
    return downloads, load, link


def _views(result: experiment.Experiment) -> list:
    """Return the values of all outputs of an update, in the order of `views` in `tab`.

    Two sliders, formula, steps, comparison, table and three downloads.
    """
    folder = gradio_patches.upload_folder()
    images_by_name = {"degraded": result.degraded, "restored": result.restored, "original": result.target}
    files = {name: images.save(images.png(image), folder, f"{name}.png") for name, image in images_by_name.items()}
    parameters = images.save(experiment.to_json(result.degradation), folder, "parameters.json")
    return [
        (files["degraded"], files["restored"]),
        (files["restored"], files["original"]),
        figures.formula(result.degradation),
        figures.steps(result),
        figures.comparison(result),
        figures.table(result),
        files["degraded"],
        files["restored"],
        parameters,
    ]
