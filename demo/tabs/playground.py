"""The Playground tab: damage a face, restore it live, and compare both with the original.

The face of a visitor is kept in memory (demo.server.limits.held) and in the page. Only the downloads, and the images of networks
beyond figures.MAX_EMBEDDED px, are files, in gradio's cache, which is emptied by age. The layout is in
demo/static/playground.css.
"""

from __future__ import annotations

import functools
import html
from typing import Any

import gradio as gr
import numpy as np
from gradio.i18n import I18nData

from demo import compare, components, experiment, figures, images, languages, permalink
from demo.server import gradio_patches, zerogpu
from demo.server.events import EACH, LAST, take
from demo.server.limits import work
from demo.server.limits.held import HeldValues
from demo.server.messages import public_message, show_user_errors
from demo.server.model_picker import DEFAULT, ModelPicker
from demo.theme import STATIC
from gpen.degradation.degradation import PRESETS, Degradation
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES, SampleFace

# one restoration at a time, since each uses all cores
NETWORK_LIMIT: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}
INITIAL_DEGRADATION = Degradation(blur_sigma=2.5, scale=1.5, noise_sigma=10.0, jpeg_quality=60)  # on the initial page
START = 43  # percent: between the eye and the nose of an aligned face
SEVERAL_MODELS_SIDE = 512  # px, at least, of the face in memory if there are several models
SCRIPT = (STATIC / "playground.js").read_text()
_CHOOSE_SAMPLE_JS = """element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-index]");
  if (button) trigger("click", { index: Number(button.dataset.index) });
});"""
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}


def tab(picker: ModelPicker, held: HeldValues) -> None:
    """Build the playground inside the current gr.Blocks. `picker` has the models, `held` the faces."""
    restorer = picker.default
    size = max(restorer.net.size, SEVERAL_MODELS_SIDE) if picker.names else restorer.net.size
    samples = [(sample, sample.load(size)) for sample in SAMPLES.values()]
    first_face = samples[0][1]
    starter = zerogpu.startup_restorer(restorer)
    starter.faces([first_face])  # warm-up: the first call is slower, and the page shows the time
    first = experiment.run(starter, first_face, INITIAL_DEGRADATION)

    for _, image in samples:
        held.pin(image)
    face, extras, opened = held.component(first_face), held.component({}), gr.State(False)
    with gr.Row(elem_id="bench"):
        with gr.Column(elem_id="view"):
            view = compare.view(START, elem_id="before-after", label="playground.first.face")
            first_views = _views(first, view, False)
            view.value = first_views[0]
            scores = gr.HTML(first_views[1], elem_id="score-line")
        with gr.Column(elem_id="controls"):
            upload, gallery, note = _face_controls(samples)
            taken = image_input(visible=False)
            looks = _look_buttons()
            widgets, keep_extras = components.build(INITIAL_DEGRADATION)
            model = gr.Dropdown(
                [(languages.text("playground.first.default_model"), DEFAULT), *((name, name) for name in picker.names)],
                value=DEFAULT, label=languages.text("playground.first.model"), visible=bool(picker.names), elem_id="model",
            )  # fmt: skip
            formula = gr.HTML(first_views[2], elem_id="formula", js_on_load=SCRIPT)
            with gr.Row(elem_id="files"):
                downloads = [
                    _download("degraded", languages.text("playground.first.download_damaged"), first_views[3]),
                    _download("restored", languages.text("playground.first.download_restored"), first_views[4]),
                ]
                link = gr.Button(languages.text("playground.first.copy_link"), elem_id="copy-link", size="sm", min_width=110)
                gr.HTML('<span id="copied" class="hidden-text" role="status"></span>', elem_id="copied-box")
    with gr.Column(elem_id="rest"):
        with gr.Accordion(languages.text("playground.first.teachers"), open=False, elem_id="teachers") as more:
            gr.HTML(_note("playground.formula", "playground.formula_html"), elem_classes="note")
            details = [gr.HTML(elem_id=name) for name in ("steps", "errors", "table")]
            gr.HTML(_note("playground.invented", "playground.invented_note"), elem_classes="note")
            invent = gr.Button(languages.text("playground.show_invented"), elem_id="invent", size="sm")
            invented = gr.HTML(elem_id="invented")
            details.append(gr.HTML(elem_id="recipe"))
            with gr.Row(elem_id="recipe-files"):
                downloads.append(_download("parameters", languages.text("playground.download_recipe"), first_views[5]))
                load = gr.UploadButton(
                    str(languages.text("playground.load_recipe")), file_types=[".json"], type="binary", elem_id="load", size="sm"
                )
                preset = gr.Dropdown(list(PRESETS), value=None, label=languages.text("playground.preset"), elem_id="preset")
    address = gr.Textbox(visible=False)

    views = [view, scores, formula, *downloads, *details, invented]
    settings = [*widgets.values(), keep_extras, extras]  # set by a sampled preset or a loaded file
    context = [face, model, opened]
    inputs = [*context, extras, keep_extras, *widgets.values()]

    def run(image: np.ndarray, name: str, degradation: Degradation) -> experiment.Experiment:
        return experiment.run(picker.restorer(name), image, degradation)

    def update(image: np.ndarray, name: str, is_open: bool, degradation: Degradation) -> list:
        return _views(run(image, name, degradation), view, is_open)

    def read(extras: dict, keep: bool, *values: Any) -> Degradation:
        return components.read(extras if keep else {}, *values)

    @show_user_errors
    def live(image: np.ndarray, name: str, is_open: bool, *values: Any) -> list:
        return update(image, name, is_open, read(*values))

    @show_user_errors
    def sample_look(look: experiment.Look, image: np.ndarray, name: str, is_open: bool, seed: float) -> list:
        degradation = experiment.sample_look(look, int(seed or 0), picker.restorer(name).net.size)
        return components.write(degradation) + update(image, name, is_open, degradation)

    @show_user_errors
    def sample_preset(chosen: str, image: np.ndarray, name: str, is_open: bool, *values: Any) -> list:
        before = read(*values)
        sampled = experiment.sample(chosen, before.seed, picker.restorer(name).net.size)
        degradation = experiment.within_sliders(sampled)
        if degradation != sampled:
            gr.Info("Sampled values outside of the sliders were set to the ends of the sliders.", duration=8)
        if degradation == before:
            gr.Info(f"{chosen} gives the same values for the seed {before.seed}: change the seed to see others.", duration=8)
        return components.write(degradation) + update(image, name, is_open, degradation)

    @show_user_errors
    def load_recipe(data: bytes, image: np.ndarray, name: str, is_open: bool) -> list:
        degradation = experiment.from_json(data)
        return components.write(degradation) + update(image, name, is_open, degradation)

    @show_user_errors
    def open_link(text: str, image: np.ndarray, is_open: bool) -> list:
        degradation, name = permalink.from_query(text), permalink.model_name(text)
        if name not in (DEFAULT, *picker.names):
            gr.Info("The model of this link is not on this server: the default model is used.", duration=8)
            name = DEFAULT
        if degradation is None and name == DEFAULT:
            return [gr.skip() for _ in (model, *settings, *views)]
        degradation = degradation or INITIAL_DEGRADATION
        return [gr.update(value=name), *components.write(degradation), *update(image, name, is_open, degradation)]

    @show_user_errors
    def to_link(name: str, *values: Any) -> str:
        return permalink.to_query(read(*values), name)

    @show_user_errors
    def show_invented(image: np.ndarray, name: str, *values: Any) -> str:
        result = run(image, name, read(*values))
        spread = experiment.spread(picker.restorer(name), result)
        return figures.invented(spread, experiment.residual(result), figures.Encoder())

    def open_details(image: np.ndarray, name: str, *values: Any) -> list:
        return [True, *live(image, name, True, *values)]

    @show_user_errors
    def choose(path: str | None, *rest: Any) -> list:
        unchanged = [gr.skip()] * (2 + len(views))
        if path is None:  # the upload was cleared: keep the face
            return unchanged
        try:
            image, count = images.find_face(path, size, work.checked_detector(restorer.detector))
        except GPENError as error:
            gr.Warning(public_message(error), duration=20)
            return unchanged
        return [image, _face_note(count), *live(image, *rest)]

    def choose_sample(event: gr.EventData, *rest: Any) -> list:
        sample, image = samples[min(max(int(event.index), 0), len(samples) - 1)]
        return [image, _credit(sample), *live(image, *rest)]

    changed = [widget.input for widget in (*widgets.values(), keep_extras)]
    quiet: dict[str, Any] = {"show_progress": "hidden", **LAST, **NETWORK_LIMIT, **_PRIVATE}
    slow: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": view, **NETWORK_LIMIT, **_PRIVATE}
    fill = components.fill_empty_fields_js(inputs, widgets)
    gr.on(changed, live, inputs, views, js=fill, **quiet)
    shape = [widgets["blur_sigma_y"], widgets["blur_angle"]]
    widgets["blur_kind"].input(
        components.shape_updates, widgets["blur_kind"], shape, queue=False, show_progress="hidden", **LAST, **_PRIVATE
    )
    for button, look in zip(looks, experiment.LOOKS, strict=True):
        button.click(
            functools.partial(sample_look, look),
            [*context, widgets["seed"]],
            settings + views,
            **LAST,
            **slow,
        )
    preset.input(sample_preset, [preset, *inputs], settings + views, **LAST, **slow)
    load.upload(load_recipe, [load, *context], settings + views, **LAST, **slow)
    model.input(live, inputs, views, **LAST, **slow)
    more.expand(open_details, [face, model, *inputs[3:]], [opened, *views], **slow)
    more.collapse(lambda: False, None, opened, queue=False, show_progress="hidden", **_PRIVATE)
    invent.click(show_invented, [face, model, *inputs[3:]], invented, show_progress="full", **NETWORK_LIMIT, **_PRIVATE)
    copied = link.click(to_link, [model, *inputs[3:]], address, queue=False, show_progress="hidden", **_PRIVATE)
    copied.then(None, address, js=permalink.COPY_LINK_JS, **_PRIVATE)
    gradio_patches.current_page().load(
        open_link, [address, face, opened], [model, *settings, *views], js="(_, ...rest) => [location.search, ...rest]", **slow
    )
    chosen = [face, note, *views]
    take(upload.input, upload, taken).then(choose, [taken, *inputs[1:]], chosen, **EACH, **slow)
    gallery.click(choose_sample, inputs[1:], chosen, **EACH, **slow)


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


def _face_controls(samples: list[tuple[SampleFace, np.ndarray]]) -> tuple[gr.Image, gr.HTML, gr.HTML]:
    with gr.Row(elem_id="face"):
        upload = image_input(
            sources=["upload", "webcam", "clipboard"], label=languages.text("playground.first.upload_name"), show_label=False,
            placeholder=languages.text("playground.first.upload"), height=64, elem_id="upload", buttons=[], min_width=200,
            webcam_options=gr.WebcamOptions(mirror=False),
        )  # fmt: skip
        buttons = "".join(
            f'<button type="button" data-index="{i}"><img src="{images.data_uri(image, 112)}" alt="">'
            f'<span class="hidden-text">{html.escape(sample.person)}</span></button>'
            for i, (sample, image) in enumerate(samples)
        )
        gallery = gr.HTML(
            f'<div role="group" {languages.attributes(aria_label="playground.first.samples")}>{buttons}</div>',
            elem_id="samples",
            apply_default_css=False,
            min_width=130,
            js_on_load=_CHOOSE_SAMPLE_JS,
        )
    return upload, gallery, gr.HTML(_credit(samples[0][0]), elem_id="face-note")


def _look_buttons() -> list[gr.Button]:
    with gr.Row(elem_id="looks"):
        texts = [languages.text(f"playground.first.looks.{look.name.replace(' ', '_')}") for look in experiment.LOOKS]
        return [gr.Button(text, elem_id=f"look-{i}", min_width=100, size="sm") for i, text in enumerate(texts)]


def _note(heading: str, text: str) -> str:
    return languages.html(heading, "h2") + languages.html(text, "p")


def _credit(sample: SampleFace) -> str:
    source = languages.html(f"playground.first.sources.{sample.source.lower().replace(' ', '_')}")
    return f'<p role="status">{html.escape(sample.person)} <small>({source})</small></p>'


def _face_note(count: int) -> str:
    if count == 1:
        text = languages.html("playground.first.own_photo")
    else:
        text = (
            languages.html("playground.first.several_faces_html", n=count)
            if count
            else languages.html("playground.first.no_face")
        )
    return f'<p role="status">{text}</p>'


def _download(name: str, label: I18nData, path: str) -> gr.DownloadButton:
    return gr.DownloadButton(str(label), path, elem_id=f"download-{name}", size="sm", min_width=110)


def _views(result: experiment.Experiment, view: gr.HTML, is_open: bool) -> list:
    """Return the values of all outputs of an update, in the order of `views` in `tab`; those of the closed section are skipped.

    Comparison, scores, formula, three downloads; steps, error maps, table, recipe; the maps of invented detail are cleared.
    """
    encoder, folder = figures.Encoder(), gradio_patches.upload_folder()
    named = {"damaged": result.degraded, "restored": result.restored}
    details = [
        lambda: figures.steps(result, encoder),
        lambda: figures.errors(result, encoder),
        lambda: figures.table(result),
        lambda: figures.recipe(result.degradation),
    ]
    return [
        figures.comparison(result, encoder, view),
        figures.summary(result),
        figures.formula(result.degradation),
        *(images.save(encoder.png(image), folder, f"{name}.png") for name, image in named.items()),
        images.save(experiment.to_json(result.degradation), folder, "parameters.json"),
        *(detail() if is_open else gr.skip() for detail in details),
        "",
    ]
