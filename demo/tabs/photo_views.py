"""HTML of the Restore a photo tab: comparison of a face, the whole photo with its faces, numbered faces, messages."""

from __future__ import annotations

import html
from collections.abc import Sequence

import gradio as gr
import numpy as np

from demo import compare, images
from demo.tabs.photo_files import BatchResult, preview_file
from demo.tabs.photo_state import PhotoState
from gpen.faces.alignment import Face, align

FACE_SIDE = 512  # px, largest side of a compared face
THUMBNAIL_SIDE = 48  # px, of a numbered face; the style sheet shows it at this size
NO_FACE = (
    "<b>No face was found in this photo.</b> If it shows one upright face that fills the image, you can restore its centre: "
    "the central square of the photo is then given to the network as if it were an aligned face."
)
LABELS = ("Damaged", "Restored")


def title(photo: PhotoState) -> str:
    """Return the heading above the compared face."""
    count = len(photo.faces)
    text = f"Face {photo.chosen + 1} of {count}" if count > 1 else "One face" if count else ""
    skipped = " <small>not restored in the photo</small>" if count and photo.chosen not in photo.included else ""
    return f"<h2>{text}{skipped}</h2>" if text else ""


def face(pair: tuple[np.ndarray, np.ndarray], number: int) -> str:
    """Return the comparison of a face, uint8 RGB [s, s, 3] before and after restoration."""
    texts = (f"Face {number} before restoration", f"Face {number} restored by GPEN")
    return compare.render(
        [
            compare.ComparedImage(images.data_uri(image, FACE_SIDE), label, text)
            for image, label, text in zip(pair, LABELS, texts, strict=True)
        ],
        1,
        1,
    )


def whole(view: gr.HTML, photo: PhotoState, pair: tuple[np.ndarray, np.ndarray]) -> str:
    """Return the comparison of the whole photo, previews before and after restoration, with a frame on each face."""
    sources = [compare.file_url(view, preview_file(image, name)) for image, name in zip(pair, ("photo", "restored"), strict=True)]
    texts = ("The whole photo before restoration", "The whole photo with restored faces")
    compared = [compare.ComparedImage(*values) for values in zip(sources, LABELS, texts, strict=True)]
    return compare.render(compared, *photo.size) + _frames(photo)


def unrestored(view: gr.HTML, photo: PhotoState) -> str:
    """Return the photo with a frame on each face, before there is a result."""
    source = compare.file_url(view, preview_file(photo.preview_base(), "photo"))
    ratio = f"--ratio: {photo.size[0] / photo.size[1]:.5g}"
    return f'<img class="photo-plain" src="{html.escape(source)}" alt="The photo" style="{ratio}">{_frames(photo)}'


def numbers(photo: PhotoState) -> str:
    """Return a group of buttons that choose a face, each with a small image of the face and its number."""
    if len(photo.faces) < 2:
        return ""
    base = photo.preview_base()
    scale = base.shape[1] / photo.size[0]
    buttons = "".join(
        f'<button type="button" role="radio" data-face="{i}" aria-checked="{str(i == photo.chosen).lower()}"'
        f' tabindex="{0 if i == photo.chosen else -1}" aria-label="Face {i + 1}"{"" if i in photo.included else " data-skipped"}>'
        f'<img src="{images.data_uri(_thumbnail(base, item, scale))}" alt=""><span>{i + 1}</span></button>'
        for i, item in enumerate(photo.faces)
    )
    return f'<div role="radiogroup" aria-label="Face to compare">{buttons}</div>'


def notice(photo: PhotoState) -> str:
    """Return messages about the photo: it was reduced, or no face was found."""
    lines = [NO_FACE] if not photo.faces else []
    if photo.file_megapixels:
        w, h = photo.size
        lines.append(
            f"The photo has {photo.file_megapixels:.0f} megapixels. It was reduced to {w} × {h} pixels "
            f"({photo.megapixels:.0f} megapixels)."
        )
    return "".join(f'<p role="status">{line}</p>' for line in lines)


def report(photo: PhotoState, seconds: float) -> str:
    """Return a line that says how many faces were restored in which time."""
    count = len(photo.included)
    return f'<p role="status">{"One face" if count == 1 else f"{count} faces"} restored in {seconds:.1f} s.</p>'


def waiting_photos(names: Sequence[str]) -> str:
    """Return the list of several photos that are not restored yet."""
    rows = "".join(f"<li>{html.escape(name)}</li>" for name in names)
    return f"<h2>{len(names)} photos</h2><ul>{rows}</ul>"


def finished_photos(result: BatchResult) -> str:
    """Return the list of several photos with the number of restored faces, or the reason why a photo is missing."""

    def text(outcome: int | str) -> str:
        if isinstance(outcome, str):
            return f"<em>not in the ZIP file: {html.escape(outcome)}</em>"
        return "no face was found: unchanged" if outcome == 0 else "one face" if outcome == 1 else f"{outcome} faces"

    rows = "".join(f"<li>{html.escape(name)} <small>{text(outcome)}</small></li>" for name, outcome in result.rows)
    done = sum(isinstance(outcome, int) for _, outcome in result.rows)
    return f'<h2 role="status">{done} of {len(result.rows)} photos are in the ZIP file</h2><ul>{rows}</ul>'


def _thumbnail(base: np.ndarray, item: Face, scale: float) -> np.ndarray:
    landmarks = (np.asarray(item.landmarks, np.float64) + 0.5) * scale - 0.5  # [5, 2], in px of the preview
    return align(base, landmarks, THUMBNAIL_SIDE)[0]


def _frames(photo: PhotoState) -> str:
    """Return a frame on each face, a shortcut for the numbered buttons; those are the ones for keyboard and screen readers."""
    width, height = photo.size
    frames = "".join(
        f'<button type="button" class="photo-frame" tabindex="-1" data-face="{i}" style="{_place(item, photo.size)}">'
        f"<span>{i + 1}</span></button>"
        for i, item in enumerate(photo.faces)
    )
    return f'<div class="photo-frames" aria-hidden="true" style="--ratio: {width / height:.5g}">{frames}</div>'


def _place(item: Face, size: tuple[int, int]) -> str:
    """Return CSS that places an element on the box of a face, in percent of the photo."""
    (x0, y0), (x1, y1) = 100 * np.clip(np.reshape(item.box, (2, 2)), 0, size) / size
    return f"left: {x0:.3f}%; top: {y0:.3f}%; width: {x1 - x0:.3f}%; height: {y1 - y0:.3f}%"
