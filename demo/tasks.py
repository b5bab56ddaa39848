"""The tasks tab: several answers for one face, and colours, holes and segmentation maps where their models are here.

The first needs nothing but the page's own network (gpen/variations.py). Each of the others has a network of its own
(gpen/tasks.py), loaded at its first use; where its file is not, its place in the tab and its function for programs
(/colorize, /inpaint, /seg2face) say in a sentence how to get it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import gradio as gr
import numpy as np

import gpen
from demo import experiment, hardware, images, samples
from demo.playground import NETWORK, picture_input, told
from gpen import checkpoints, tasks, variations
from gpen.degradation import Degradation
from gpen.errors import GPENError

NAMES = {"colorize": "Colourise", "inpaint": "Fill holes", "seg2face": "Face from a map"}
DOES = {
    "colorize": "A grey face gets colours; its light and shade stay as they are, to the level.",
    "inpaint": "Paint over what is to be filled in. Whatever you leave unpainted comes back bit for bit.",
    "seg2face": "A map of the 19 classes of CelebAMask-HQ, in its colours or as labels 0 to 18, becomes a face.",
}
GO = {"colorize": "Colourise", "inpaint": "Fill in"}  # on the button of a panel that begins with a picture
OWN = "A small model that this project trained does it; {}.pth in a folder of GPEN_MODELS takes its place."
BRUSH = "#ff00aa"  # any opaque colour but white, which the layer's clear parts become
SAMPLE_SIDE = 256  # px
LARGEST = 2048  # px; a larger face is shrunk, which no network here would see
MOST = 8  # answers at once
BLURRED = Degradation(blur_sigma=2.0, scale=8.0, noise_sigma=4.0)  # what a visitor's first answers are for
PRIVATE = {"api_visibility": "private"}


def tab(restorer) -> None:
    """Build the tab inside the current gr.Blocks. `restorer` is a gpen.Restorer."""
    device = next(restorer.net.parameters()).device
    with gr.Tabs():
        with gr.Tab("Several answers", id="answers"):
            _answers_panel(restorer)
        for task, name in NAMES.items():
            with gr.Tab(name, id=task):
                here = tasks.local_model(task)
                gr.HTML(f"<p>{_about(task, here) if here else missing(task)}</p>", elem_id=f"about-{task}")
                if here:
                    _task_panel(task, device)
    with gr.Column(visible=False):
        _endpoints(device)


def _about(task: str, model: Path) -> str:
    own = model.parent == checkpoints.ASSETS
    return DOES[task] + (f" {OWN.format(tasks.TASKS[task].models[0])}" if own else "")


def missing(task: str) -> str:
    """What the page says in the place of a task that has no model here."""
    names = tasks.TASKS[task].models
    own = f", or train your own with `python -m gpen train finetune --task {task}` and name it {names[-1]}.safetensors"
    return (
        f"This needs a network of its own, which is not here: put {names[0]}.pth, which GPEN's authors publish without stating a "
        f"licence, into a folder that GPEN_MODELS names{own if len(names) > 1 else ''}, and start the page again."
    )


def answers(restorer, path: str | None, reference: str | None, n: float, seed: float) -> variations.Variations:
    """n answers for the face in a visitor's file, with the style of the face in another if there is one."""
    experiment.check_numbers(n=n, seed=seed)
    if n != int(n) or not 1 <= n <= MOST:
        raise GPENError(f"Ask for 1 to {MOST} answers, a whole number; got {n:g}.")
    face = images.read_face(path, restorer.net.size)
    other = images.read_face(reference, restorer.net.size) if reference else None
    return variations.vary(restorer.net, face, restorer.face(face, strength=1).image, int(n), seed, other)


def run(task: str, network, image: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What the network is asked and what comes of it, two uint8 RGB images of one size. `network` is the task's Restorer."""
    result = tasks.run(network, task, image, mask)
    if task == "seg2face":
        labels = cv2.resize(tasks.to_labels(image), result.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return tasks.to_palette(labels), result
    return (tasks.grey(image) if mask is None else tasks.apply_mask(image, mask)), result


def read(path: str | None, task: str) -> np.ndarray:
    """A visitor's file as a square, uint8 RGB [h, h, 3], of at most LARGEST pixels a side; labels are not averaged."""
    image = images.square_crop(images.decode(path))
    if len(image) <= LARGEST:
        return image
    if task == "seg2face":
        return cv2.resize(image, (LARGEST, LARGEST), interpolation=cv2.INTER_NEAREST)
    return images.square_crop(image, LARGEST)


def read_drawing(paths: list[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """The picture and what was painted over it, from their files, picture first: `read`'s image and its mask, bool [h, h]."""
    if not paths:
        raise GPENError("There is no picture: please choose one, then paint over what is to be filled in.")
    picture, *layers = (images.decode(path) for path in paths)
    painted = np.zeros(picture.shape[:2], np.uint8)
    for layer in layers:
        if layer.shape == picture.shape:
            painted |= (layer < 250).any(2)
    if not painted.any():
        raise GPENError("Nothing is painted over: paint over what is to be filled in, then try again.")
    return _squares(picture, painted)


def read_masked(path: str | None, mask: str | None) -> tuple[np.ndarray, np.ndarray]:
    """As `read_drawing`, from a picture's file and that of a mask of its size, white where it is to be filled in."""
    picture = images.decode(path)
    if mask is None:
        raise GPENError("There is no mask: give a picture of the same size, white where it is to be filled in and else black.")
    white = tasks.luma(images.decode(mask)) > 127
    if white.shape != picture.shape[:2]:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (white.shape, picture.shape)]
        raise GPENError(f"The mask has {sizes[0]} pixels and the picture {sizes[1]}: make the mask of the picture's size.")
    picture, white = _squares(picture, white.astype(np.uint8))
    if not white.any():
        raise GPENError("The mask is black in the picture's central square: make white what is to be filled in.")
    return picture, white


def _squares(picture: np.ndarray, marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The central squares of a picture and of the pixels that are marked in it, uint8 [h, w], not 0; see `read_drawing`."""
    picture, marked = images.square_crop(picture), images.square_crop(marked)
    if len(picture) > LARGEST:
        picture, marked = (images.square_crop(x, LARGEST) for x in (picture, (marked > 0) * np.uint8(255)))
    return picture, marked > 0


def _answers_panel(restorer) -> None:
    sample = _save(BLURRED.resized(samples.astronaut(restorer.net.size)), "face")
    gr.HTML("<p>One blurred face can come from many. Each of these, made as coarse again, fits it as the network's own does.</p>")
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            face = picture_input(value=sample, label="Face", sources=["upload", "clipboard"], height=220, elem_id="answers-face")
            reference = picture_input(
                label="Style of another face (optional)", sources=["upload", "clipboard"], height=180, elem_id="answers-style"
            )
            n = gr.Slider(2, MOST, 4, step=1, label="Answers", elem_id="answers-n")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31, elem_id="answers-seed")
            button = gr.Button("Answer", variant="primary", elem_id="answers-go")
        with gr.Column(scale=3, min_width=320):
            gallery = gr.Gallery(
                format="png", columns=3, height=640, label="The network's own, then others", elem_id="answers-gallery"
            )
            note = gr.HTML(elem_id="answers-note")

    ask = hardware.gpu(functools.partial(answers, restorer))

    @told
    def show(path, style, count, start):
        found = ask(path, style, count, start)
        items = zip(["The network's own", *found.fits], [found.plain, *found.images], strict=True)
        labelled = [(_save(image, "answer"), f"{name:.1f} dB" if isinstance(name, float) else name) for name, image in items]
        return labelled, _note(found)

    @told
    def several(image: str, n: float = 4, seed: float = 0, reference: str | None = None) -> tuple[list[str], dict]:
        """Give several restorations of one degraded face, all of which fit it about as well as the network's own.

        Args:
            image: a picture of one aligned face; its central square is resized to the network's size.
            n: how many answers, 1 to 8.
            seed: a whole number from 0; the same seed gives the same answers.
            reference: a picture of another aligned face whose style is mixed in, if there is one.

        Returns:
            The answers as PNG files, and as JSON their fits to the input in dB, that of the network's own answer, and
            their diversity: the mean distance of two of them, root mean square in levels of 255.
        """
        found = ask(image, reference, n, seed)
        figures = {"fits": found.fits, "own_fit": found.plain_fit, "diversity": variations.diversity(found.images)}
        return [_save(answer, "answer") for answer in found.images], figures

    button.click(show, [face, reference, n, seed], [gallery, note], show_progress_on=gallery, **NETWORK, **PRIVATE)
    with gr.Column(visible=False):
        pictures = [picture_input(label="image"), picture_input(label="reference")]
        numbers, trigger = [gr.Number(4, label="n"), gr.Number(0, label="seed")], gr.Button()
        inputs = [pictures[0], *numbers, pictures[1]]
        trigger.click(several, inputs, [gr.Files(), gr.JSON()], api_name="variations", **NETWORK)


def _note(found: variations.Variations) -> str:
    far = variations.diversity(found.images)
    return (
        f"<p><small>Made as coarse as the input, the network's own answer fits it with {found.plain_fit:.1f} dB, the others with "
        f"{min(found.fits):.1f} to {max(found.fits):.1f}. Two of them differ by {far:.1f} levels of 255 (root mean square, "
        f"mean over all pairs).</small></p>"
    )


def _task_panel(task: str, device) -> None:
    face = samples.astronaut(SAMPLE_SIDE)
    triggers = []
    with gr.Row():
        with gr.Column(min_width=300):
            if task == "inpaint":
                source = _editor(_save(face, "face"))
            else:
                sample = _save(tasks.grey(face), "face") if task == "colorize" else None  # a sample map there is none
                source = picture_input(
                    value=sample, label="Your picture", sources=["upload", "clipboard"], elem_id=f"{task}-picture"
                )
                triggers.append(source.upload)
            if task in GO:
                triggers.append(gr.Button(GO[task], variant="primary", elem_id=f"{task}-go").click)
        with gr.Column(min_width=300):
            slider = gr.ImageSlider(label="Before | After", format="png", interactive=False, elem_id=f"{task}-result")
            download = gr.DownloadButton("↓ PNG", size="sm", elem_id=f"{task}-download")

    @told
    def do(given):
        network = _network(task, device)
        image, mask = read_drawing(given) if task == "inpaint" else (read(given, task), None)
        before, after = (_save(x, task) for x in run(task, network, image, mask))
        return (before, after), after

    gr.on(triggers, do, source, [slider, download], show_progress_on=slider, **NETWORK, **PRIVATE)


def _endpoints(device) -> None:
    """The tasks for programs; they are there without their models too, and say how to get them."""

    @told
    def colorize(image: str) -> str:
        """Give a grey face colours. They are invented; the picture's light and shade stay as they are.

        Args:
            image: a picture of one aligned face, grey or not; its central square is taken, of at most 2048 pixels a side.

        Returns:
            The coloured face as a PNG file, of the size of that square.
        """
        return _done("colorize", device, lambda: (read(image, "colorize"), None))

    @told
    def inpaint(image: str, mask: str) -> str:
        """Fill in what a mask covers in a picture of a face. What fills it is invented; all else stays bit for bit.

        Args:
            image: a picture of one aligned face; its central square is taken, of at most 2048 pixels a side.
            mask: a picture of the same width and height, white where to fill in and black elsewhere.

        Returns:
            The filled picture as a PNG file, of the size of that square.
        """
        return _done("inpaint", device, lambda: read_masked(image, mask))

    @told
    def seg2face(image: str) -> str:
        """Make a face from a segmentation map of the 19 classes of CelebAMask-HQ. The person does not exist.

        Args:
            image: the map, lossless: in the palette's colours, or grey with the labels 0 to 18; its central square is taken.

        Returns:
            The face as a PNG file, at the network's size.
        """
        return _done("seg2face", device, lambda: (read(image, "seg2face"), None))

    picture, mask = picture_input(label="image"), picture_input(label="mask")
    result, trigger = gr.Image(format="png"), gr.Button()
    for function, inputs in ((colorize, picture), (inpaint, [picture, mask]), (seg2face, picture)):
        trigger.click(function, inputs, result, api_name=function.__name__, **NETWORK)


def _done(task: str, device, given: Callable[[], tuple[np.ndarray, np.ndarray | None]]) -> str:
    """The file of what the task's network makes of the picture and the mask; they are read where there is a network."""
    network = _network(task, device)
    return _save(run(task, network, *given())[1], task)


def _network(task: str, device) -> gpen.Restorer:
    if not (here := tasks.local_model(task)):
        raise GPENError(missing(task))
    return _loaded(here, device)


@functools.lru_cache(maxsize=len(NAMES))
def _loaded(file: Path, device) -> gpen.Restorer:
    return hardware.restorer(gpen.load(file, device=device))


def _editor(picture: str) -> gr.ImageEditor:
    """An editor of that file to begin with. It hands over files unopened, the picture's first, for `read_drawing`."""
    component = gr.ImageEditor(
        {"background": picture, "layers": [], "composite": None}, label="Your picture",
        type="filepath", format="png", sources=["upload", "clipboard"], layers=False, transforms=(),
        brush=gr.Brush(colors=[BRUSH], color_mode="fixed"), elem_id="inpaint-picture", buttons=[],
    )  # fmt: skip

    def files(payload) -> list[str] | None:
        stored = component.blob_storage.pop(payload.id, None) if payload and payload.id else payload
        if stored is None or stored.background is None:
            return None
        parts = [part for part in (stored.background, *stored.layers) if part is not None]
        folder = gr.utils.get_upload_folder()
        return [_kept(part) if isinstance(part, bytes) else images.uploaded(part.path, folder) for part in parts]

    component.preprocess = files
    return component


def _kept(data: bytes) -> str:
    return images.save(data, gr.utils.get_upload_folder(), "drawing.png")


def _save(image: np.ndarray, name: str) -> str:
    return images.save(images.png(image), gr.utils.get_upload_folder(), f"{name}.png")
