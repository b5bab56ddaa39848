"""HTML of the Restore a photo tab: comparison of a face, the whole photo with its faces, numbered faces, messages."""

from __future__ import annotations

import html
from collections.abc import Sequence

import gradio as gr
import numpy as np

from demo import compare, images, languages
from demo.photo.photo_files import BatchResult, preview_file
from demo.photo.photo_state import PhotoState
from gpen.faces.alignment import Face, align

FACE_SIDE = 512  # px, largest side of a compared face
THUMBNAIL_SIDE = 48  # px, of a numbered face; the style sheet shows it at this size
LABELS = ("photo.damaged", "photo.restored")


def title(photo: PhotoState) -> str:
    """Return the heading above the compared face."""
    count = len(photo.faces)
    if not count:
        return ""
    text = languages.html("photo.face_of", number=photo.chosen + 1, count=count) if count > 1 else _faces(1)
    skipped = "" if photo.chosen in photo.included else f" {languages.html('photo.skipped', tag='small')}"
    return f"<h2>{text}{skipped}</h2>"


def face(pair: tuple[np.ndarray, np.ndarray], number: int) -> str:
    """Return the comparison of a face, uint8 RGB [s, s, 3] before and after restoration."""
    texts = ("photo.face_before", "photo.face_restored")
    return compare.render(
        [
            compare.ComparedImage(images.data_uri(image, FACE_SIDE), label, text, {"number": number})
            for image, label, text in zip(pair, LABELS, texts, strict=True)
        ],
        1,
        1,
    )


def whole(view: gr.HTML, photo: PhotoState, pair: tuple[np.ndarray, np.ndarray]) -> str:
    """Return the comparison of the whole photo, previews before and after restoration, with a frame on each face."""
    sources = [compare.file_url(view, preview_file(image, name)) for image, name in zip(pair, ("photo", "restored"), strict=True)]
    texts = ("photo.whole_before", "photo.whole_restored")
    compared = [compare.ComparedImage(*values) for values in zip(sources, LABELS, texts, strict=True)]
    return compare.render(compared, *photo.size) + _frames(photo)


def unrestored(view: gr.HTML, photo: PhotoState) -> str:
    """Return the photo with a frame on each face, before there is a result."""
    source = compare.file_url(view, preview_file(photo.preview_base(), "photo"))
    ratio = f"--ratio: {photo.size[0] / photo.size[1]:.5g}"
    alt = languages.attributes(alt="photo.photo")
    return f'<img class="photo-plain" src="{html.escape(source)}" {alt} style="{ratio}">{_frames(photo)}'


def numbers(photo: PhotoState) -> str:
    """Return a group of buttons that choose a face, each with a small image of the face and its number."""
    if len(photo.faces) < 2:
        return ""
    base = photo.preview_base()
    scale = base.shape[1] / photo.size[0]
    buttons = ""
    for i, item in enumerate(photo.faces):
        chosen, skipped = i == photo.chosen, "" if i in photo.included else " data-skipped"
        label = languages.attributes({"number": i + 1}, aria_label="photo.face_number")
        buttons += (
            f'<button type="button" role="radio" data-face="{i}" aria-checked="{str(chosen).lower()}" '
            f'tabindex="{0 if chosen else -1}" {label}{skipped}>'
            f'<img src="{images.data_uri(_thumbnail(base, item, scale))}" alt=""><span>{i + 1}</span></button>'
        )
    return f'<div role="radiogroup" {languages.attributes(aria_label="photo.choose")}>{buttons}</div>'


def notice(photo: PhotoState) -> str:
    """Return messages about the photo: it was reduced, it has too many faces, or no face was found."""
    lines = [] if photo.faces else [languages.html("photo.no_face_html", tag="p")]
    if photo.left_out:
        lines.append(languages.html("photo.left_out", tag="p", n=photo.left_out, most=len(photo.faces)))
    if photo.file_megapixels:
        w, h = photo.size
        megapixels = {"before": f"{photo.file_megapixels:.0f}", "after": f"{photo.megapixels:.0f}"}
        lines.append(languages.html("photo.reduced", tag="p", width=w, height=h, **megapixels))
    return "".join(_status(line) for line in lines)


def report(photo: PhotoState, seconds: float) -> str:
    """Return a line that says how many faces were restored in which time."""
    return _status(languages.html("photo.report", tag="p", n=len(photo.included), seconds=f"{seconds:.1f}"))


def finished(seconds: float) -> str:
    """Return a line that says in which time several photos were restored."""
    return _status(languages.html("photo.finished", tag="p", seconds=f"{seconds:.1f}"))


def waiting_photos(names: Sequence[str]) -> str:
    """Return the list of several photos that are not restored yet."""
    rows = "".join(f"<li>{html.escape(name)}</li>" for name in names)
    return f"{languages.html('photo.waiting', tag='h2', n=len(names))}<ul>{rows}</ul>"


def finished_photos(result: BatchResult) -> str:
    """Return the list of several photos with the number of restored faces, or the reason why a photo is missing."""

    def text(outcome: int | str) -> str:
        if isinstance(outcome, str):
            return languages.html("photo.not_in_zip", tag="em", reason=outcome)
        return _faces(outcome) if outcome else languages.html("photo.unchanged")

    rows = "".join(f"<li>{html.escape(name)} <small>{text(outcome)}</small></li>" for name, outcome in result.rows)
    done = sum(isinstance(outcome, int) for _, outcome in result.rows)
    heading = languages.html("photo.in_zip", tag="h2", done=done, total=len(result.rows))
    return f"{_status(heading)}<ul>{rows}</ul>"


def _faces(count: int) -> str:
    return languages.html("photo.faces", n=count)


def _status(element: str) -> str:
    return f'<div role="status">{element}</div>'


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
