"""The More tasks tab: variations, colourisation, inpainting, segmentation map to face.

Variations use the network of the page (see gpen.restoration). Each other task has its own model
that is loaded at first use. If it is missing, the tab and the API (/colorize, /inpaint, /seg2face) say how to get it.
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
from demo import experiment, images, samples
from demo.server import gradio_patches, zerogpu
from demo.server.messages import show_user_errors
from demo.tabs.playground import NETWORK_LIMIT, image_input
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from gpen.models import checkpoints
from gpen.restoration import tasks, variations

TASK_TITLES = {"colorize": "Colourise", "inpaint": "Inpaint", "seg2face": "Segmentation map to face"}
DESCRIPTIONS = {
    "colorize": "Colourises a grey face. The luminance of every pixel is preserved exactly.",
    "inpaint": "Paint over the region to fill in. All other pixels are returned unchanged.",
    "seg2face": "Generates a face from a segmentation map with the 19 classes of CelebAMask-HQ, as colours or as labels 0 to 18.",
}
BUTTON_LABELS = {"colorize": "Colourise", "inpaint": "Fill in"}  # of tasks with an input image
OWN_MODEL_NOTE = "The model is a small one that this project trained; {}.pth in a folder of GPEN_MODELS replaces it."
BRUSH = "#ff00aa"  # any opaque colour except white: transparent pixels are decoded as white
SAMPLE_SIDE = 256  # px
MAX_SIDE = 2048  # px; larger faces are reduced, which does not affect any network here
MAX_VARIATIONS = 8  # variations per request
SAMPLE_DEGRADATION = Degradation(blur_sigma=2.0, scale=8.0, noise_sigma=4.0)  # of the initial sample face
PRIVATE: dict[str, Any] = {"api_visibility": "private"}


def tab(restorer: gpen.Restorer) -> None:
    """Build the tab inside the current gr.Blocks. `restorer` is a gpen.Restorer."""
    device = next(restorer.net.parameters()).device
    with gr.Tabs():
        with gr.Tab("Variations", id="variations"):
            _variations_panel(restorer)
        for task, name in TASK_TITLES.items():
            with gr.Tab(name, id=task):
                here = tasks.local_model(task)
                gr.HTML(f"<p>{_about(task, here) if here else missing_model_message(task)}</p>", elem_id=f"about-{task}")
                if here:
                    _task_panel(task, device)
    with gr.Column(visible=False):
        _endpoints(device)


def _about(task: str, model: Path) -> str:
    own = model.parent == checkpoints.ASSETS
    return DESCRIPTIONS[task] + (f" {OWN_MODEL_NOTE.format(tasks.TASKS[task].models[0])}" if own else "")


def missing_model_message(task: str) -> str:
    """Return the message that replaces a task without a model."""
    names = tasks.TASKS[task].models
    own = f", or train your own with `python -m gpen train finetune --task {task}` and name it {names[-1]}.safetensors"
    return (
        f"No model for this task was found: put {names[0]}.pth, published by the authors of GPEN without a stated licence, "
        f"into a folder of GPEN_MODELS{own if len(names) > 1 else ''}, and restart the page."
    )


def make_variations(
    restorer: gpen.Restorer, path: str | None, reference: str | None, n: float, seed: float
) -> variations.Variations:
    """Return n variations of the face in a file, with the style of the face in another file if given."""
    experiment.check_numbers(n=n, seed=seed)
    if n != int(n) or not 1 <= n <= MAX_VARIATIONS:
        raise GPENError(f"n is {n:g}: request 1 to {MAX_VARIATIONS} variations.")
    face = images.read_face(path, restorer.net.size)
    other = images.read_face(reference, restorer.net.size) if reference else None
    plain = restorer.face(face, strength=1).image
    return variations.vary(restorer.net, face, plain, int(n), seed, other)  # type: ignore[arg-type]  # vary rejects fractions


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


def read_square(path: str | None, task: str) -> np.ndarray:
    """Read an image file as a square, uint8 RGB [h, h, 3], of at most MAX_SIDE px.

    Labels of segmentation maps are not interpolated.
    """
    image = images.square_crop(images.decode(path))
    if len(image) <= MAX_SIDE:
        return image
    if task == "seg2face":
        return cv2.resize(image, (MAX_SIDE, MAX_SIDE), interpolation=cv2.INTER_NEAREST)
    return images.square_crop(image, MAX_SIDE)


def read_drawing(paths: list[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and the painted layers from their files, the image first.

    Returns the image as in `read_square`, and the mask, bool [h, h].
    """
    if not paths:
        raise GPENError("There is no image: choose one, then paint over the region to fill in.")
    image, *layers = (images.decode(path) for path in paths)
    painted = np.zeros(image.shape[:2], np.uint8)
    for layer in layers:
        if layer.shape == image.shape:
            painted |= (layer < 250).any(2)
    if not painted.any():
        raise GPENError("Nothing is painted: paint over the region to fill in.")
    return _squares(image, painted)


def read_with_mask(path: str | None, mask: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and a mask of equal size, white in the region to fill in.

    Returns the same as `read_drawing`.
    """
    image = images.decode(path)
    if mask is None:
        raise GPENError("There is no mask: pass an image of the same size, white in the region to fill in and black elsewhere.")
    white = tasks.luma(images.decode(mask)) > 127
    if white.shape != image.shape[:2]:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (white.shape, image.shape)]
        raise GPENError(f"The mask has {sizes[0]} pixels and the image {sizes[1]}: both must have the same size.")
    image, white = _squares(image, white.astype(np.uint8))
    if not white.any():
        raise GPENError("The mask is black in the central square of the image: make the region to fill in white.")
    return image, white


def _squares(image: np.ndarray, marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the central squares of an image and of a mask, as in `read_drawing`.

    The mask is uint8 [h, w], non-zero where marked.
    """
    image, marked = images.square_crop(image), images.square_crop(marked)
    if len(image) > MAX_SIDE:
        image, marked = (images.square_crop(x, MAX_SIDE) for x in (image, (marked > 0) * np.uint8(255)))
    return image, marked > 0


def _variations_panel(restorer: gpen.Restorer) -> None:
    sample = _save(SAMPLE_DEGRADATION.resized(samples.astronaut(restorer.net.size)), "face")
    gr.HTML(
        "<p>Many faces have the same low-quality image. All variations match the input about as well as the default output.</p>"
    )
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            face = image_input(value=sample, label="Face", sources=["upload", "clipboard"], height=220, elem_id="variations-face")
            reference = image_input(
                label="Style of another face (optional)", sources=["upload", "clipboard"], height=180, elem_id="variations-style"
            )
            n = gr.Slider(2, MAX_VARIATIONS, 4, step=1, label="Number of variations", elem_id="variations-n")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31, elem_id="variations-seed")
            button = gr.Button("Generate", variant="primary", elem_id="variations-go")
        with gr.Column(scale=3, min_width=320):
            gallery = gr.Gallery(
                format="png", columns=3, height=640, label="Default output, then variations", elem_id="variations-gallery"
            )
            note = gr.HTML(elem_id="variations-note")

    ask = zerogpu.gpu(functools.partial(make_variations, restorer), restorer, MAX_VARIATIONS + 1)

    @show_user_errors
    def show(path: str | None, style: str | None, count: float, start: float) -> tuple[list[tuple[str, str]], str]:
        found = ask(path, style, count, start)
        items = zip(["Default output", *found.fits], [found.plain, *found.images], strict=True)
        labelled = [(_save(image, "variation"), f"{name:.1f} dB" if isinstance(name, float) else name) for name, image in items]
        return labelled, _note(found)

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
        found = ask(image, reference, n, seed)
        figures = {"fits": found.fits, "own_fit": found.plain_fit, "diversity": variations.diversity(found.images)}
        return [_save(variation, "variation") for variation in found.images], figures

    button.click(show, [face, reference, n, seed], [gallery, note], show_progress_on=gallery, **NETWORK_LIMIT, **PRIVATE)
    with gr.Column(visible=False):
        image_inputs = [image_input(label="image"), image_input(label="reference")]
        numbers, trigger = [gr.Number(4, label="n"), gr.Number(0, label="seed")], gr.Button()
        inputs = [image_inputs[0], *numbers, image_inputs[1]]
        trigger.click(generate_variations, inputs, [gr.Files(), gr.JSON()], api_name="variations", **NETWORK_LIMIT)


def _note(found: variations.Variations) -> str:
    far = variations.diversity(found.images)
    return (
        f"<p><small>Degraded again, the default output matches the input with {found.plain_fit:.1f} dB, the variations with "
        f"{min(found.fits):.1f} to {max(found.fits):.1f} dB. The mean difference of two variations is {far:.1f} (root mean "
        f"square on the scale 0 to 255).</small></p>"
    )


def _task_panel(task: str, device: torch.device) -> None:
    face = samples.astronaut(SAMPLE_SIDE)
    triggers: list[Any] = []
    source: gr.Image | gr.ImageEditor
    with gr.Row():
        with gr.Column(min_width=300):
            if task == "inpaint":
                source = _editor(_save(face, "face"))
            else:
                sample = _save(tasks.grey(face), "face") if task == "colorize" else None  # there is no sample segmentation map
                source = image_input(value=sample, label="Image", sources=["upload", "clipboard"], elem_id=f"{task}-image")
                triggers.append(source.upload)
            if task in BUTTON_LABELS:
                triggers.append(gr.Button(BUTTON_LABELS[task], variant="primary", elem_id=f"{task}-go").click)
        with gr.Column(min_width=300):
            slider = gr.ImageSlider(label="Before | After", format="png", interactive=False, elem_id=f"{task}-result")
            download = gr.DownloadButton("↓ PNG", size="sm", elem_id=f"{task}-download")

    @show_user_errors
    def do(given: Any) -> tuple[tuple[str, str], str]:
        network = _network(task, device)
        image, mask = read_drawing(given) if task == "inpaint" else (read_square(given, task), None)
        before, after = (_save(x, task) for x in run_task(task, network, image, mask))
        return (before, after), after

    gr.on(triggers, do, source, [slider, download], show_progress_on=slider, **NETWORK_LIMIT, **PRIVATE)


def _endpoints(device: torch.device) -> None:
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
    return _save(run_task(task, network, *given())[1], task)


def _network(task: str, device: torch.device) -> gpen.Restorer:
    if not (here := tasks.local_model(task)):
        raise GPENError(missing_model_message(task))
    return _loaded(here, device)


@functools.lru_cache(maxsize=len(TASK_TITLES))
def _loaded(file: Path, device: torch.device) -> gpen.Restorer:
    return zerogpu.make_restorer(gpen.load(file, device=device))


def _editor(image: str) -> gr.ImageEditor:
    """Return an image editor that passes the paths of its files for `read_drawing`.

    The files are not decoded by gradio.
    """
    component = gr.ImageEditor(
        {"background": image, "layers": [], "composite": None}, label="Image",
        type="filepath", format="png", sources=["upload", "clipboard"], layers=False, transforms=(),
        brush=gr.Brush(colors=[BRUSH], color_mode="fixed"), elem_id="inpaint-image", buttons=[],
    )  # fmt: skip

    def files(payload: Any) -> list[str] | None:
        stored = gradio_patches.editor_payload(component, payload)
        if stored is None or stored.background is None:
            return None
        parts = [part for part in (stored.background, *stored.layers) if part is not None]
        folder = gradio_patches.upload_folder()
        return [_kept(part) if isinstance(part, bytes) else images.uploaded_path(part.path, folder) for part in parts]

    gradio_patches.set_preprocess(component, files)
    return component


def _kept(data: bytes) -> str:
    return images.save(data, gradio_patches.upload_folder(), "drawing.png")


def _save(image: np.ndarray, name: str) -> str:
    return images.save(images.png(image), gradio_patches.upload_folder(), f"{name}.png")
