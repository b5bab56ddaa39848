"""Variations of one face with the network of the page (gpen.restoration.variations), compared with the default output."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

import gpen
from demo import compare, experiment, figures, images, languages
from demo.server import gradio_patches, zerogpu
from demo.server.events import EACH
from demo.server.limits.held import HeldValues
from demo.server.messages import show_user_errors
from demo.tabs.playground import NETWORK_LIMIT, image_input
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES
from gpen.restoration import variations

MAX_VARIATIONS = 8  # of a request
INITIAL_VARIATIONS = 4
HARDLY_DIFFERENT = 4.0  # RMS on the scale 0 to 255; two images that differ less are hard to tell apart
SAMPLE_DEGRADATION = Degradation(blur_sigma=2.0, scale=8.0, noise_sigma=4.0)  # of the initial sample face
FIRST = 2  # index of the first variation after the input and the default output
PRIVATE: dict[str, Any] = {"api_visibility": "private"}

_THUMBNAIL_SCRIPT = """element.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-index]");
  if (!chosen) return;
  for (const button of element.querySelectorAll("[data-index]")) button.setAttribute("aria-pressed", button === chosen);
  trigger("click", { index: Number(chosen.dataset.index) });
});"""


class Item(NamedTuple):
    """An image that can be compared.

    Attributes:
        path: its file.
        name: the key of its label in the section variations of demo.languages; that of its alternative text ends with _image.
        number: of a variation from 1, else 0.
    """

    path: str
    name: str
    number: int = 0

    @property
    def values(self) -> dict[str, Any]:
        """The values of the placeholders of its texts."""
        return {"number": self.number} if self.number else {}


def generate(
    restorer: gpen.Restorer, path: str | None, reference: str | None, n: float, seed: float
) -> tuple[np.ndarray, variations.Variations]:
    """Return the face in a file, uint8 RGB [size, size, 3], and n variations of it.

    They have the style of the face in the file `reference` if it is given.
    """
    experiment.check_numbers(n=n, seed=seed)
    if n != int(n) or not 1 <= n <= MAX_VARIATIONS:
        raise GPENError(f"n is {n:g}: request 1 to {MAX_VARIATIONS} variations.")
    face = images.read_face(path, restorer.net.size)
    other = images.read_face(reference, restorer.net.size) if reference else None
    plain = restorer.face(face, strength=1).image
    found = variations.vary(restorer.net, face, plain, int(n), seed, other)  # type: ignore[arg-type]  # vary rejects fractions
    return face, found


def panel(restorer: gpen.Restorer, held: HeldValues) -> None:
    """Build the panel of the variations inside the current gr.Blocks, and the endpoint /variations."""
    size = restorer.net.size
    sample = save(SAMPLE_DEGRADATION.resized(SAMPLES["astronaut"].load(size)), "face")
    first = _items(*generate(zerogpu.startup_restorer(restorer), sample, None, INITIAL_VARIATIONS, 0))
    gr.HTML(languages.html("variations.heading", tag="h2") + languages.html("variations.intro", tag="p"))
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            face = image_input(
                value=sample, label=languages.text("variations.face"), sources=["upload", "clipboard"], height=240, buttons=[],
                elem_id="variations-face",
            )  # fmt: skip
            n = gr.Slider(
                2, MAX_VARIATIONS, INITIAL_VARIATIONS, step=1, label=languages.text("variations.count"), buttons=[],
                elem_id="variations-n",
            )  # fmt: skip
            seed_label = languages.text("variations.seed")
            seed = gr.Number(0, label=seed_label, precision=0, minimum=0, maximum=2**31, elem_id="variations-seed")
            with gr.Accordion(languages.text("variations.style"), open=False):
                reference = image_input(
                    label=languages.text("variations.style_face"), sources=["upload", "clipboard"], height=180, buttons=[],
                    elem_id="variations-style",
                )  # fmt: skip
            button = gr.Button(languages.text("variations.generate"), variant="primary", elem_id="variations-go")
        with gr.Column(scale=3, min_width=300):
            view = compare.view(elem_id="variations-view", label="variations.compared")
            thumbnails = gr.HTML(
                html_template="${value}", js_on_load=_THUMBNAIL_SCRIPT, apply_default_css=False, elem_id="variations-gallery"
            )
            text = gr.HTML(first[1], elem_id="variations-note")
            png = str(languages.text("variations.download"))
            download = gr.DownloadButton(png, size="sm", elem_id="variations-download")
    items = held.component(first[0])
    view.value, thumbnails.value, download.value = *_shown(view, first[0]), first[0][FIRST].path
    ask = zerogpu.gpu(functools.partial(generate, restorer), restorer, MAX_VARIATIONS + 1)

    @show_user_errors
    def show(path: str | None, style: str | None, count: float, start: float) -> list:
        found, sentence = _items(*ask(path, style, count, start))
        return [found, *_shown(view, found), found[FIRST].path, sentence]

    @show_user_errors
    def select(event: gr.EventData, found: list[Item]) -> tuple[str, str]:
        index = min(max(int(event.index), 1), len(found) - 1)
        if not Path(found[index].path).is_file():
            raise GPENError("The images are no longer on the server: generate them again.")
        return _compared(view, found, index), found[index].path

    @show_user_errors
    def generate_variations(image: str, n: float = 4, seed: float = 0, reference: str | None = None) -> tuple[list[str], dict]:
        """Generate several restorations of one degraded face, all of which match it.

        Their distance to the input is about that of the default output.

        Args:
            image: an image of one aligned face; its central square is resized to the size of the network.
            n: number of variations, 1 to 8.
            seed: integer seed from 0; the same seed gives the same variations.
            reference: optional image of another aligned face whose style is mixed in.

        Returns:
            The variations as PNG files, and as JSON their PSNR to the input in dB after degrading them again (fits), that
            of the default output (own_fit), and their mean pairwise distance (diversity), RMS on the scale 0 to 255.
        """
        _, found = ask(image, reference, n, seed)
        numbers = {"fits": found.fits, "own_fit": found.plain_fit, "diversity": variations.diversity(found.images)}
        return [save(variation, "variation") for variation in found.images], numbers

    outputs = [items, view, thumbnails, download, text]
    button.click(show, [face, reference, n, seed], outputs, show_progress_on=view, **NETWORK_LIMIT, **PRIVATE)
    thumbnails.click(select, items, [view, download], show_progress="hidden", **EACH, **PRIVATE)
    with gr.Column(visible=False):
        image_inputs = [image_input(label="image"), image_input(label="reference")]
        numbers, trigger = [gr.Number(4, label="n"), gr.Number(0, label="seed")], gr.Button()
        inputs = [image_inputs[0], *numbers, image_inputs[1]]
        trigger.click(generate_variations, inputs, [gr.Files(), gr.JSON()], api_name="variations", **NETWORK_LIMIT)


def note(found: variations.Variations) -> str:
    """Return HTML that says how much the variations differ, and how well they match the input."""
    far, low, high = variations.diversity(found.images), f"{min(found.fits):.1f}", f"{max(found.fits):.1f}"
    differ = languages.html("variations.hardly_differ" if far < HARDLY_DIFFERENT else "variations.differ", rms=f"{far:.1f}")
    default = f"{found.plain_fit:.1f}"
    if low == high:
        match = languages.html("variations.match", default=default, fit=low)
    else:
        match = languages.html("variations.match_range", default=default, low=low, high=high)
    return f'<p role="status">{differ} {match}</p>'


def save(image: np.ndarray, name: str) -> str:
    """Write uint8 RGB [h, w, 3] as PNG into the cache; return the path."""
    return images.save(images.png(image), gradio_patches.upload_folder(), f"{name}.png")


def _items(face: np.ndarray, found: variations.Variations) -> tuple[list[Item], str]:
    """Return the input, the default output, the variations and the map of their spread, and the note."""
    spread = figures.error_map(2 * np.stack(found.images).std(axis=0, dtype=np.float32).mean(axis=2))  # [size, size, 3]
    items = [Item(save(face, "face"), "input"), Item(save(found.plain, "default"), "default")]
    items += [Item(save(image, f"variation-{k}"), "variation", k) for k, image in enumerate(found.images, 1)]
    return [*items, Item(save(spread, "spread"), "spread")], note(found)


def _shown(view: gr.HTML, items: list[Item]) -> tuple[str, str]:
    """Return the values of the comparison and of the thumbnails, with the first variation chosen."""
    buttons = "".join(
        f'<button type="button" data-index="{index}" aria-pressed="{str(index == FIRST).lower()}">'
        f'<img src="{compare.file_url(view, item.path)}" alt="" width="128" height="128">'
        f"{languages.html(f'variations.{item.name}', **item.values)}</button>"
        for index, item in enumerate(items)
        if index
    )
    label = languages.attributes(aria_label="page.compare.pairs")
    return _compared(view, items, FIRST), f'<div role="group" {label}>{buttons}</div>'


def _compared(view: gr.HTML, items: list[Item], index: int) -> str:
    """Compare an image with the default output, and the default output with the input."""
    pair = items[:2] if index == 1 else [items[1], items[index]]
    compared = [
        compare.ComparedImage(
            compare.file_url(view, item.path), f"variations.{item.name}", f"variations.{item.name}_image", item.values
        )
        for item in pair
    ]
    return compare.render(compared, 1, 1)
