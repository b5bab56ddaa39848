"""The photo tab: drop a photo, choose among its faces by clicking on them, restore them, compare before and after.

A visitor's photo passes through gradio's cache as the uploaded file, emptied by age; the session keeps where its faces are and
what the network made of them, so that another strength or size needs no second run of the network.
"""

from __future__ import annotations

import html
import time
import urllib.parse
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import skimage.data

from demo import experiment, images
from demo.playground import NETWORK, picture_input, told
from gpen.degradation import Degradation
from gpen.errors import GPENError
from gpen.faces import Face, aligned_face, downscale
from gpen.paste import RestoredFace, check_strength, compose, enlarge

SCRIPT = Path(__file__).with_suffix(".js").read_text()
SHOWN = 2400  # px: the longer side of what the page shows; the download is whole
FACE_SHOWN = 320  # px a side, in the gallery
SIZES = (1, 2, 4)  # times as large
REMEMBERED = 16  # photos, of all visitors, whose restored faces are kept in memory
VIEWS = ("Faces", "Before | After")
SAMPLE = Degradation(blur_sigma=1.2, scale=2.0, noise_sigma=6, jpeg_quality=50)
NO_FACE = (
    "<b>No face was found in this photo.</b> If it is one face that fills the picture, upright, it can be restored as an "
    "aligned face: its central square then goes through the network."
)
_SENTENCE = "<p>Drop a photo: every face in it is found, restored and put back. Everything else stays as it is.</p>"
_PRIVATE = {"api_visibility": "private"}
Progress = Callable[[int, int], None] | None  # called with the faces done and all of them
_recent: deque[weakref.ref] = deque(maxlen=REMEMBERED)


@dataclass
class Photo:
    """A visitor's photo in the session: its file, its faces, and by index those that the network has restored."""

    path: str
    size: tuple[int, int]  # width, height
    faces: list[Face]
    restored: dict[int, RestoredFace] = field(default_factory=dict)
    shown: list[int] = field(default_factory=list)  # the faces of the result on the page

    def keep(self, restored: dict[int, RestoredFace]) -> None:
        """Remember these faces; of all photos of all visitors only the last REMEMBERED do, the others start again."""
        self.restored |= restored
        if any(reference() is self for reference in _recent):
            return
        if len(_recent) == REMEMBERED and (oldest := _recent[0]()):
            oldest.restored = {}
        _recent.append(weakref.ref(self))


def tab(restorer) -> None:
    """Build the tab inside the current gr.Blocks. `restorer` is a gpen.Restorer."""
    photo, chosen = gr.State(), gr.State([])
    gr.HTML(_SENTENCE, elem_id="photo-sentence")
    with gr.Column(elem_id="photo-drop") as drop:
        upload = picture_input(
            sources=["upload", "clipboard"], show_label=False, placeholder="Drop a photo here", height=420, buttons=[],
            elem_id="photo-upload",
        )  # fmt: skip
        sample = gr.Button("Try a sample photo", elem_id="photo-sample", size="sm")
    with gr.Row(elem_id="photo-bench", visible=False) as bench:
        with gr.Column(elem_id="stage"):
            view = gr.Radio(VIEWS, value=VIEWS[0], show_label=False, container=False, visible=False, elem_id="photo-view")
            found = gr.HTML(elem_id="found", js_on_load=SCRIPT)
            slider = gr.ImageSlider(
                show_label=False, format="png", buttons=["fullscreen"], interactive=False, visible=False, max_height=4000,
                elem_id="photo-slider",
            )  # fmt: skip
        with gr.Column(elem_id="photo-controls"):
            strength = gr.Slider(0, 1, restorer.strength, step=0.01, label="Strength", buttons=[], elem_id="photo-strength",
                                 info="0 is the photo itself, 1 the network's result")  # fmt: skip
            upscale = gr.Radio([(f"× {n}", n) for n in SIZES], value=SIZES[0], label="Enlarge the whole", elem_id="photo-size")
            restore = gr.Button("Restore", variant="primary", elem_id="photo-restore")
            aligned = gr.Button("Restore as an aligned face", variant="primary", visible=False, elem_id="photo-aligned")
            with gr.Row(elem_id="photo-files"):
                download = gr.DownloadButton("↓ Restored PNG", visible=False, size="sm", min_width=110, elem_id="photo-download")
                another = gr.Button("Another photo", size="sm", min_width=110, elem_id="photo-another")
            summary = gr.HTML(elem_id="photo-report")
        gallery = gr.Gallery(
            label="Faces before and after", format="png", columns=4, object_fit="contain", visible=False, height="auto",
            elem_id="photo-faces", buttons=["download", "fullscreen"], interactive=False,
        )  # fmt: skip

    place = [drop, bench]
    results = [view, found, slider, download, summary, gallery]
    begun = [photo, chosen, *place, *results, restore, aligned]

    def open_photo(path: str | None) -> list:
        if path is None:
            return [gr.skip() for _ in range(1 + len(begun))]
        try:
            new = find_faces(restorer, path)
        except GPENError as error:
            gr.Warning(html.escape(str(error)), duration=20)
            return [None, *(gr.skip() for _ in begun)]
        everyone = list(range(len(new.faces)))
        return [
            None, new, everyone, gr.update(visible=False), gr.update(visible=True),
            gr.update(value=VIEWS[0], visible=False), gr.update(value=_boxes(new), visible=True), gr.update(visible=False),
            gr.update(visible=False), _ratio(new), gr.update(visible=False),
            _restore_button(everyone) | {"visible": bool(new.faces)}, gr.update(visible=not new.faces),
        ]  # fmt: skip

    def open_sample() -> list:
        return open_photo(sample_photo())

    def as_aligned(old: Photo | None, *rest, progress=gr.Progress()):  # noqa: B008 - gradio finds it among the defaults
        new = old and Photo(old.path, old.size, [aligned_face(np.empty((*old.size[::-1], 3), np.uint8))])
        return [new, [0], *run(new, [0], *rest, progress)]

    @told
    def run(old: Photo | None, indices: list[int], how_much: float, times: int, progress=gr.Progress()) -> list:  # noqa: B008
        if old is None:
            raise GPENError("There is no photo: drop one first.")
        start = time.perf_counter()
        shown = render(restorer, old, indices, how_much, times, lambda done, total: progress((done, total), unit="faces"))
        old.shown = indices
        seconds = time.perf_counter() - start
        count = "One face" if len(indices) == 1 else f"{len(indices)} faces"
        return [
            gr.update(value=VIEWS[1], visible=bool(old.faces)), gr.update(visible=False),
            gr.update(value=shown.slider, visible=True), gr.update(value=shown.file, visible=True),
            f"<p>{count} restored in {seconds:.1f} s.</p>{_ratio(old)}", gr.update(value=shown.gallery, visible=True),
        ]  # fmt: skip

    @told
    def again(old: Photo | None, how_much: float, times: int) -> list:
        """Another strength or size of what is shown; nothing before the first run."""
        if old is None or not old.shown:
            return [gr.skip(), gr.skip()]
        shown = render(restorer, old, old.shown, how_much, times)
        return [shown.slider, shown.file]

    def choose(event: gr.EventData, old: Photo) -> list:
        indices = [i for i in event.chosen if isinstance(i, int) and 0 <= i < len(old.faces)]
        return [indices, _restore_button(indices)]

    def switch(which: str) -> list:
        return [gr.update(visible=which == VIEWS[0]), gr.update(visible=which == VIEWS[1])]

    busy = {"show_progress": "full", "show_progress_on": found, **NETWORK, **_PRIVATE}
    quick = {"queue": False, "show_progress": "hidden", **_PRIVATE}
    upload.input(open_photo, upload, [upload, *begun], show_progress="minimal", show_progress_on=upload, **NETWORK, **_PRIVATE)
    sample.click(open_sample, None, [upload, *begun], show_progress="minimal", show_progress_on=upload, **NETWORK, **_PRIVATE)
    found.click(choose, photo, [chosen, restore], **quick)
    view.input(switch, view, [found, slider], **quick)
    restore.click(run, [photo, chosen, strength, upscale], results, **busy)
    aligned.click(as_aligned, [photo, strength, upscale], [photo, chosen, *results], **busy)
    live = {"trigger_mode": "always_last", "show_progress": "hidden", **NETWORK, **_PRIVATE}
    gr.on([strength.input, upscale.input], again, [photo, strength, upscale], [slider, download], **live)
    another.click(lambda: [gr.update(visible=True), gr.update(visible=False), None, []], None, [*place, photo, chosen], **quick)


@dataclass(frozen=True)
class Shown:
    """What the page shows of a result: files for the slider, the whole restored photo, a picture of each face."""

    slider: tuple[str, str]
    file: str
    gallery: list[tuple[str, str]]  # before and after side by side, and its caption


def find_faces(restorer, path: str) -> Photo:
    """The faces of a visitor's file, largest first. Raises GPENError where it is no picture."""
    image = images.decode(path)
    return Photo(path, image.shape[1::-1], restorer.detector(image))


def pick(photo: Photo, which: str) -> list[int]:
    """Indices for "all", "largest" or the faces' numbers from 1, "1, 3". Raises GPENError for anything else."""
    if which in ("all", "largest"):
        return list(range(len(photo.faces)))[: None if which == "all" else 1]
    try:
        indices = [int(number) - 1 for number in which.split(",")]
    except ValueError:
        raise GPENError(f'faces is "all", "largest" or numbers such as "1, 3"; got {which[:40]!r}.') from None
    if not all(0 <= i < len(photo.faces) for i in indices):
        raise GPENError(f"This photo has {len(photo.faces)} faces, numbered from 1 by size; got {which[:40]!r}.")
    return list(dict.fromkeys(indices))


def restored(
    restorer, photo: Photo, indices: list[int], strength: float, upscale: float, progress: Progress = None
) -> tuple[np.ndarray, np.ndarray]:
    """The photo before and after, of one size, uint8 RGB; the network sees only the faces that it has not seen yet."""
    experiment.check_numbers(strength=strength, upscale=upscale)
    check_strength(strength)
    width, height = photo.size
    if width * height * upscale**2 > images.MAX_PIXELS:
        raise GPENError(
            f"Enlarged {upscale:g} times this photo has {width * height * upscale**2 / 1e6:.0f} megapixels: "
            f"please choose less than {images.MAX_PIXELS // 10**6}."
        )
    image = images.decode(photo.path)
    before = enlarge(image, upscale)
    if new := [i for i in indices if i not in photo.restored]:
        result = restorer.photo(image, only=new, faces=photo.faces, progress=progress)
        photo.keep(dict(zip(new, result.faces, strict=True)))
    return before, compose(before, [photo.restored[i] for i in indices], strength, upscale)


def render(restorer, photo: Photo, indices: list[int], strength: float, upscale: float, progress: Progress = None) -> Shown:
    """Restore the faces with these indices and write what the page shows. Raises GPENError where none is chosen."""
    if not indices:
        raise GPENError("No face is chosen: click on a face to choose it.")
    before, after = restored(restorer, photo, indices, strength, upscale, progress)
    slider = _save(downscale(before, SHOWN), "photo"), _save(downscale(after, SHOWN), "restored")
    pairs = [(_save(_pair(photo.restored[i], strength), f"face-{i + 1}"), f"Face {i + 1}") for i in indices]
    return Shown(slider, _save(after, "restored"), pairs)


def report(photo: Photo, indices: list[int]) -> list[dict]:
    """Boxes, landmarks and scores of these faces, for programs; numbers in pixels of the photo as it came."""
    return [
        {
            "number": i + 1,
            "box": [round(value, 1) for value in photo.faces[i].box],
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in photo.faces[i].landmarks],
            "score": round(photo.faces[i].score, 4),
        }
        for i in indices
    ]


def sample_photo() -> str:
    """The file of a photo to begin with: the astronaut (NASA), made small and noisy."""
    return _save(SAMPLE(skimage.data.astronaut()), "astronaut")


def _save(image: np.ndarray, name: str) -> str:
    return images.save(images.png(image), gr.utils.get_upload_folder(), f"{name}.png")


def _pair(face: RestoredFace, strength: float) -> np.ndarray:
    """A face before and after, side by side."""
    after = cv2.addWeighted(face.crop, 1 - strength, face.restored, strength, 0)
    return np.hstack([downscale(face.crop, FACE_SHOWN), downscale(after, FACE_SHOWN)])


def _restore_button(indices: list[int]) -> dict:
    label = {0: "Choose a face", 1: "Restore one face"}.get(len(indices), f"Restore {len(indices)} faces")
    return gr.update(value=label, interactive=bool(indices))


def _ratio(photo: Photo) -> str:
    """Tells the style sheet the photo's shape."""
    return f"<style>#stage {{ --ratio: {photo.size[0] / photo.size[1]:.4f} }}</style>"


def _boxes(photo: Photo) -> str:
    """The photo with a numbered button on every face, as HTML; where there is none, the way out."""
    preview = _save(downscale(images.decode(photo.path), SHOWN), "photo")
    picture = f'<img src="gradio_api/file={urllib.parse.quote(preview)}" alt="The photo">'
    if not photo.faces:
        return f'<p class="none">{NO_FACE}</p><div class="photo">{picture}</div>'
    count = "One face" if len(photo.faces) == 1 else f"{len(photo.faces)} faces"
    buttons = "".join(f'<button type="button" data-pick="{name.lower()}">{name}</button>' for name in ("All", "Largest", "None"))
    faces = "".join(_box(number, face, photo.size) for number, face in enumerate(photo.faces, 1))
    return (
        f'<div class="pick"><p><b>{count} found</b> <span class="chosen-count">{len(photo.faces)} chosen</span></p>'
        f'<div role="group" aria-label="Choose">{buttons}</div></div><div class="photo">{picture}{faces}</div>'
    )


def _box(number: int, face: Face, size: tuple[int, int]) -> str:
    (x0, y0), (x1, y1) = np.clip(np.reshape(face.box, (2, 2)), 0, size)
    left, top, width, height = 100 * np.array([x0 / size[0], y0 / size[1], (x1 - x0) / size[0], (y1 - y0) / size[1]])
    place = f"left:{left:.3f}%;top:{top:.3f}%;width:{width:.3f}%;height:{height:.3f}%"
    return (
        f'<button type="button" class="face" aria-pressed="true" aria-label="Face {number}" style="{place}">'
        f"<span>{number}</span></button>"
    )
