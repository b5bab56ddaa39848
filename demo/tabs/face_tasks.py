"""Tasks of other models: colourisation, inpainting, segmentation map to face.

Each task has its own model, which is loaded at first use. Without it, the task has no panel, and its API endpoint (/colorize,
/inpaint, /seg2face) says how to get it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
import torch

import gpen
from demo import compare, images, languages
from demo.server import zerogpu
from demo.server.events import LAST
from demo.server.limits.held import HeldValues
from demo.server.messages import show_user_errors
from demo.tabs.playground import NETWORK_LIMIT, image_input
from demo.tabs.task_inputs import drawing_editor, read_drawing, read_square, read_with_mask
from demo.tabs.variations import save
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES
from gpen.models import checkpoints
from gpen.restoration import tasks

NAMES = ("colorize", "inpaint", "seg2face")
SAMPLE_SIDE = 256  # px
PRIVATE: dict[str, Any] = {"api_visibility": "private"}


def about(task: str) -> str:
    """Return HTML that describes a task, and its model if it is that of this project."""
    model = tasks.local_model(task)
    own = model is not None and model.parent == checkpoints.ASSETS
    texts = [languages.html(f"variations.{task}.about")]
    if own:
        texts.append(languages.html("variations.own_model", file=f"{tasks.TASKS[task].models[0]}.pth"))
    return f"<p>{' '.join(texts)}</p>"


def missing_model_message(task: str) -> str:
    """Return the message that replaces a task without a model."""
    names = tasks.TASKS[task].models
    own = f", or train your own with `python -m gpen train finetune --task {task}` and name it {names[-1]}.safetensors"
    return (
        f"No model for this task was found: put {names[0]}.pth, published by the authors of GPEN without a stated licence, "
        f"into a folder of GPEN_MODELS{own if len(names) > 1 else ''}, and restart the page."
    )


def run_task(
    task: str, network: gpen.Restorer, image: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Run a task; return its input and its output, uint8 RGB of equal size.

    `network` is the Restorer of the task.
    """
    result = tasks.run(network, task, image, mask)
    if task == "seg2face":
        labels = cv2.resize(tasks.to_labels(image), result.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return tasks.to_palette(labels), result
    return (tasks.grey(image) if mask is None else tasks.apply_mask(image, mask)), result


def fade(before: np.ndarray, after: np.ndarray, strength: float) -> np.ndarray:
    """Blend a grey image with the same image in colour, both uint8 RGB [h, w, 3]; strength: 0 (grey) to 1.

    This scales the chroma, and preserves the luminance up to rounding.
    """
    return cv2.addWeighted(before, 1 - strength, after, strength, 0)


def panel(task: str, device: torch.device, opened: gr.Tab, held: HeldValues) -> None:
    """Build the panel of a task with a model inside the tab `opened`; the sample is processed when it is first selected."""
    face = SAMPLES["astronaut"].load(SAMPLE_SIDE)
    source: gr.Image | gr.ImageEditor
    gr.HTML(languages.html(f"variations.{task}.title", tag="h2") + about(task), elem_id=f"about-{task}")
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            if task == "inpaint":
                source = drawing_editor(save(face, "face"))
            else:
                sample = save(tasks.grey(face), "face") if task == "colorize" else None  # there is no sample segmentation map
                source = image_input(
                    value=sample, label=languages.text("variations.image"), sources=["upload", "clipboard"], height=300,
                    buttons=[], elem_id=f"{task}-image",
                )  # fmt: skip
            button = gr.Button(languages.text(f"variations.{task}.run"), variant="primary", elem_id=f"{task}-go")
        with gr.Column(scale=3, min_width=300):
            view = compare.view(elem_id=f"{task}-result", label=f"variations.{task}.pair")
            strength = gr.Slider(
                0, 1, 1, step=0.01, label=languages.text("variations.colorize.strength"), buttons=[],
                visible=task == "colorize", elem_id=f"{task}-strength",
            )  # fmt: skip
            png = str(languages.text("variations.download"))
            download = gr.DownloadButton(png, size="sm", interactive=False, elem_id=f"{task}-download")
    made = held.component(("", ""))  # files before and after; the result is faded to the first without running the network again
    results = [view, download]

    def faded(files: tuple[str, str], share: float) -> list:
        before, after = files
        if share < 1:
            after = save(fade(images.decode(before), images.decode(after), share), task)
        return [_compared(view, task, before, after), gr.update(value=after, interactive=True)]

    @show_user_errors
    def run(given: Any, share: float) -> list:
        image, mask = read_drawing(given) if task == "inpaint" else (read_square(given, task), None)
        before, after = run_task(task, _network(task, device), image, mask)
        files = save(before, f"{task}-input"), save(after, task)
        return [files, *faded(files, share)]

    @show_user_errors
    def change_strength(files: tuple[str, str], share: float) -> list:
        return faded(files, share) if files[0] else [gr.skip(), gr.skip()]

    @show_user_errors
    def run_once(files: tuple[str, str], given: Any, share: float) -> list:
        return [gr.skip()] * 3 if files[0] else run(given, share)

    slow: dict[str, Any] = {"show_progress_on": view, **NETWORK_LIMIT, **PRIVATE}
    button.click(run, [source, strength], [made, *results], **slow)
    if isinstance(source, gr.Image):
        source.upload(run, [source, strength], [made, *results], **LAST, **slow)
    if task == "colorize":
        opened.select(run_once, [made, source, strength], [made, *results], **slow)
    strength.input(change_strength, [made, strength], results, show_progress="hidden", **LAST, **PRIVATE)


def _compared(view: gr.HTML, task: str, before: str, after: str) -> str:
    shown = [
        compare.ComparedImage(compare.file_url(view, path), f"variations.{task}.{name}", f"variations.{task}.{name}_image")
        for name, path in (("before", before), ("after", after))
    ]
    return compare.render(shown, 1, 1)


def endpoints(device: torch.device) -> None:
    """Add the API endpoints of the tasks; without a model they return how to get it."""

    @show_user_errors
    def colorize(image: str) -> str:
        """Colourise a grey face. The colours are generated; the luminance of the image is preserved.

        Args:
            image: an image of one aligned face, grey or not; its central square is used, at most 2048 pixels per side.

        Returns:
            The colourised face as a PNG file, at the size of that square.
        """
        return _done("colorize", device, lambda: (read_square(image, "colorize"), None))

    @show_user_errors
    def inpaint(image: str, mask: str) -> str:
        """Fill in the masked region of a face. Its content is generated; all other pixels are unchanged.

        Args:
            image: an image of one aligned face; its central square is used, at most 2048 pixels per side.
            mask: an image of the same width and height, white where to fill in and black elsewhere.

        Returns:
            The completed image as a PNG file, at the size of that square.
        """
        return _done("inpaint", device, lambda: read_with_mask(image, mask))

    @show_user_errors
    def seg2face(image: str) -> str:
        """Generate a face from a segmentation map with the 19 classes of CelebAMask-HQ.

        The person does not exist.

        Args:
            image: lossless segmentation map in the colours of the palette, or grey with the labels 0 to 18; its central
                square is used.

        Returns:
            The face as a PNG file, at the size of the network.
        """
        return _done("seg2face", device, lambda: (read_square(image, "seg2face"), None))

    image, mask = image_input(label="image"), image_input(label="mask")
    result, trigger = gr.Image(format="png"), gr.Button()
    for function, inputs in ((colorize, image), (inpaint, [image, mask]), (seg2face, image)):
        trigger.click(function, inputs, result, api_name=function.__name__, **NETWORK_LIMIT)


def _done(task: str, device: torch.device, given: Callable[[], tuple[np.ndarray, np.ndarray | None]]) -> str:
    """Run a task and return the output file; `given` reads image and mask only if the model is available."""
    network = _network(task, device)
    return save(run_task(task, network, *given())[1], task)


def _network(task: str, device: torch.device) -> gpen.Restorer:
    if not (here := tasks.local_model(task)):
        raise GPENError(missing_model_message(task))
    return _loaded(here, device)


@functools.lru_cache(maxsize=len(NAMES))
def _loaded(file: Path, device: torch.device) -> gpen.Restorer:
    return zerogpu.make_restorer(gpen.load(file, device=device))
