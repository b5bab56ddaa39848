"""The Photo tab: select faces of an uploaded photo, restore them, compare before and after.

The photo is stored as an uploaded file in gradio's cache, which is emptied by age. The session state keeps the detected
faces and the network output for each, so that changing the strength or size does not run the network again.
"""

from __future__ import annotations

import html
import time
import urllib.parse
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import gradio as gr
import numpy as np
import skimage.data

import gpen
from demo import experiment, images
from demo.server import gradio_patches
from demo.tabs.playground import NETWORK_LIMIT, image_input, show_user_errors
from demo.theme import STATIC
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from gpen.faces.alignment import Face, aligned_face
from gpen.images import downscale
from gpen.restoration.paste import RestoredFace, check_strength, compose, enlarge

SCRIPT = (STATIC / "photo.js").read_text()
MAX_PREVIEW_SIDE = 2400  # px, longer side of the preview; the download has full size
FACE_PREVIEW_SIDE = 320  # px, side of a face in the gallery
UPSCALE_FACTORS = (1, 2, 4)
MAX_CACHED_PHOTOS = 16  # photos of all visitors whose restored faces are kept in memory
VIEWS = ("Faces", "Before | After")
SAMPLE_DEGRADATION = Degradation(blur_sigma=1.2, scale=2.0, noise_sigma=6, jpeg_quality=50)
NO_FACE = (
    "<b>No face was found in this photo.</b> If it shows one upright face that fills the image, restore it as an aligned face: "
    "its central square is then given to the network."
)
_INTRO = "<p>Upload a photo: all its faces are detected, restored and pasted back. The rest of the photo does not change.</p>"
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
Progress = Callable[[int, int], None] | None  # called with the number of finished faces and of all faces
_recent: deque[weakref.ref] = deque(maxlen=MAX_CACHED_PHOTOS)


@dataclass
class PhotoState:
    """A photo in the session state: its file, its faces, and the restored faces by index."""

    path: str
    size: tuple[int, int]  # width, height
    faces: list[Face]
    restored: dict[int, RestoredFace] = field(default_factory=dict)
    displayed: list[int] = field(default_factory=list)  # indices of the faces in the displayed result

    def cache_faces(self, restored: dict[int, RestoredFace]) -> None:
        """Cache restored faces; the faces of all but the last MAX_CACHED_PHOTOS photos are dropped."""
        self.restored |= restored
        if any(reference() is self for reference in _recent):
            return
        if len(_recent) == MAX_CACHED_PHOTOS and (oldest := _recent[0]()):
            oldest.restored = {}
        _recent.append(weakref.ref(self))


def tab(restorer: gpen.Restorer) -> None:
    """Build the tab inside the current gr.Blocks. `restorer` is a gpen.Restorer."""
    photo, chosen = gr.State(), gr.State([])
    gr.HTML(_INTRO, elem_id="photo-sentence")
    with gr.Column(elem_id="photo-drop") as drop:
        upload = image_input(
            sources=["upload", "clipboard"], show_label=False, placeholder="Upload a photo", height=420, buttons=[],
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
                                 info="0: original photo, 1: full restoration")  # fmt: skip
            upscale = gr.Radio(
                [(f"× {n}", n) for n in UPSCALE_FACTORS],
                value=UPSCALE_FACTORS[0],
                label="Enlarge the photo",
                elem_id="photo-size",
            )
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

    def as_aligned(
        old: PhotoState | None,
        strength_value: float,
        factor: int,
        progress: Any = gr.Progress(),  # noqa: B008 - gradio requires it as a default value
    ) -> list:
        whole = [aligned_face(np.empty((*old.size[::-1], 3), np.uint8), restorer.alignment)] if old else []
        new = old and PhotoState(old.path, old.size, whole)
        return [new, [0], *run(new, [0], strength_value, factor, progress)]

    @show_user_errors
    def run(
        old: PhotoState | None,
        indices: list[int],
        strength_value: float,
        factor: int,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> list:
        if old is None:
            raise GPENError("There is no photo: upload one first.")
        start = time.perf_counter()
        shown = render(restorer, old, indices, strength_value, factor, lambda done, total: progress((done, total), unit="faces"))
        old.displayed = indices
        seconds = time.perf_counter() - start
        count = "One face" if len(indices) == 1 else f"{len(indices)} faces"
        return [
            gr.update(value=VIEWS[1], visible=bool(old.faces)), gr.update(visible=False),
            gr.update(value=shown.slider, visible=True), gr.update(value=shown.file, visible=True),
            f"<p>{count} restored in {seconds:.1f} s.</p>{_ratio(old)}", gr.update(value=shown.gallery, visible=True),
        ]  # fmt: skip

    @show_user_errors
    def again(old: PhotoState | None, strength_value: float, factor: int) -> list:
        """Render the displayed result with another strength or size; does nothing before the first run."""
        if old is None or not old.displayed:
            return [gr.skip(), gr.skip()]
        shown = render(restorer, old, old.displayed, strength_value, factor)
        return [shown.slider, shown.file]

    def choose(event: gr.EventData, old: PhotoState) -> list:
        indices = [i for i in event.chosen if isinstance(i, int) and 0 <= i < len(old.faces)]
        return [indices, _restore_button(indices)]

    def switch(which: str) -> list:
        return [gr.update(visible=which == VIEWS[0]), gr.update(visible=which == VIEWS[1])]

    busy: dict[str, Any] = {"show_progress": "full", "show_progress_on": found, **NETWORK_LIMIT, **_PRIVATE}
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", **_PRIVATE}
    upload.input(
        open_photo, upload, [upload, *begun], show_progress="minimal", show_progress_on=upload, **NETWORK_LIMIT, **_PRIVATE
    )
    sample.click(
        open_sample, None, [upload, *begun], show_progress="minimal", show_progress_on=upload, **NETWORK_LIMIT, **_PRIVATE
    )
    found.click(choose, photo, [chosen, restore], **quick)
    view.input(switch, view, [found, slider], **quick)
    restore.click(run, [photo, chosen, strength, upscale], results, **busy)
    aligned.click(as_aligned, [photo, strength, upscale], [photo, chosen, *results], **busy)
    live: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden", **NETWORK_LIMIT, **_PRIVATE}
    gr.on([strength.input, upscale.input], again, [photo, strength, upscale], [slider, download], **live)
    another.click(lambda: [gr.update(visible=True), gr.update(visible=False), None, []], None, [*place, photo, chosen], **quick)


@dataclass(frozen=True)
class PhotoView:
    """Files of a result: the slider images, the full restored photo, and an image of each face."""

    slider: tuple[str, str]
    file: str
    gallery: list[tuple[str, str]]  # before and after side by side, with a caption


def find_faces(restorer: gpen.Restorer, path: str) -> PhotoState:
    """Detect the faces of an image file, largest first. Raises GPENError if it is not an image."""
    image = images.decode(path)
    return PhotoState(path, image.shape[1::-1], restorer.detector(image))


def parse_faces(photo: PhotoState, which: str) -> list[int]:
    """Parse "all", "largest" or face numbers from 1, such as "1, 3", to indices.

    Raises GPENError for any other text.
    """
    if which in ("all", "largest"):
        return list(range(len(photo.faces)))[: None if which == "all" else 1]
    try:
        indices = [int(number) - 1 for number in which.split(",")]
    except ValueError:
        raise GPENError(f'faces must be "all", "largest" or numbers such as "1, 3"; got {which[:40]!r}.') from None
    if not all(0 <= i < len(photo.faces) for i in indices):
        raise GPENError(
            f"faces is {which[:40]!r}, but the photo has {len(photo.faces)} faces: use their numbers from 1, by size."
        )
    return list(dict.fromkeys(indices))


def restore_faces(
    restorer: gpen.Restorer, photo: PhotoState, indices: list[int], strength: float, upscale: float, progress: Progress = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the photo before and after restoration, uint8 RGB of equal size.

    Only faces that are not cached in `photo` are given to the network. Raises GPENError for values out of range.
    """
    experiment.check_numbers(strength=strength, upscale=upscale)
    check_strength(strength)
    width, height = photo.size
    if width * height * upscale**2 > images.MAX_PIXELS:
        raise GPENError(
            f"The photo enlarged {upscale:g} times would have {width * height * upscale**2 / 1e6:.0f} megapixels: "
            f"choose a factor that gives at most {images.MAX_PIXELS // 10**6}."
        )
    image = images.decode(photo.path)
    before = enlarge(image, upscale)
    if new := [i for i in indices if i not in photo.restored]:
        result = restorer.photo(image, only=new, faces=photo.faces, progress=progress)
        photo.cache_faces(dict(zip(new, result.faces, strict=True)))
    return before, compose(before, [photo.restored[i] for i in indices], strength, upscale)


def render(
    restorer: gpen.Restorer, photo: PhotoState, indices: list[int], strength: float, upscale: float, progress: Progress = None
) -> PhotoView:
    """Restore the selected faces and write the files that the page shows.

    Raises GPENError if no face is selected.
    """
    if not indices:
        raise GPENError("No face is selected: click on a face to select it.")
    before, after = restore_faces(restorer, photo, indices, strength, upscale, progress)
    slider = _save(downscale(before, MAX_PREVIEW_SIDE), "photo"), _save(downscale(after, MAX_PREVIEW_SIDE), "restored")
    pairs = [(_save(_pair(photo.restored[i], strength), f"face-{i + 1}"), f"Face {i + 1}") for i in indices]
    return PhotoView(slider, _save(after, "restored"), pairs)


def face_report(photo: PhotoState, indices: list[int]) -> list[dict]:
    """Return number, box, landmarks and score of each selected face, in pixels of the input photo."""
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
    """Return the file of a sample photo: the astronaut (NASA), degraded."""
    return _save(SAMPLE_DEGRADATION(skimage.data.astronaut()), "astronaut")


def _save(image: np.ndarray, name: str) -> str:
    return images.save(images.png(image), gradio_patches.upload_folder(), f"{name}.png")


def _pair(face: RestoredFace, strength: float) -> np.ndarray:
    """Return a face before and after restoration, side by side."""
    after = cv2.addWeighted(face.crop, 1 - strength, face.restored, strength, 0)
    return np.hstack([downscale(face.crop, FACE_PREVIEW_SIDE), downscale(after, FACE_PREVIEW_SIDE)])


def _restore_button(indices: list[int]) -> dict:
    label = {0: "Select a face", 1: "Restore one face"}.get(len(indices), f"Restore {len(indices)} faces")
    return gr.update(value=label, interactive=bool(indices))


def _ratio(photo: PhotoState) -> str:
    """Return CSS that sets the aspect ratio of the photo for the style sheet."""
    return f"<style>#stage {{ --ratio: {photo.size[0] / photo.size[1]:.4f} }}</style>"


def _boxes(photo: PhotoState) -> str:
    """Return HTML of the photo with a numbered button on each face, or a hint if there is none."""
    preview = _save(downscale(images.decode(photo.path), MAX_PREVIEW_SIDE), "photo")
    image = f'<img src="gradio_api/file={urllib.parse.quote(preview)}" alt="The photo">'
    if not photo.faces:
        return f'<p class="none">{NO_FACE}</p><div class="photo">{image}</div>'
    count = "One face" if len(photo.faces) == 1 else f"{len(photo.faces)} faces"
    buttons = "".join(f'<button type="button" data-pick="{name.lower()}">{name}</button>' for name in ("All", "Largest", "None"))
    faces = "".join(_box(number, face, photo.size) for number, face in enumerate(photo.faces, 1))
    return (
        f'<div class="pick"><p><b>{count} found</b> <span class="chosen-count">{len(photo.faces)} selected</span></p>'
        f'<div role="group" aria-label="Select faces">{buttons}</div></div><div class="photo">{image}{faces}</div>'
    )


def _box(number: int, face: Face, size: tuple[int, int]) -> str:
    (x0, y0), (x1, y1) = np.clip(np.reshape(face.box, (2, 2)), 0, size)
    left, top, width, height = 100 * np.array([x0 / size[0], y0 / size[1], (x1 - x0) / size[0], (y1 - y0) / size[1]])
    place = f"left:{left:.3f}%;top:{top:.3f}%;width:{width:.3f}%;height:{height:.3f}%"
    return (
        f'<button type="button" class="face" aria-pressed="true" aria-label="Face {number}" style="{place}">'
        f"<span>{number}</span></button>"
    )
