"""A view that compares two or three images with a divider.

The divider is moved with a mouse, by its handle on a touch screen, or with arrow keys, Page Up, Page Down, Home and End.
With three images, buttons choose the pair that is compared. The script is in demo/static/compare.js.

A text is a key of demo.languages, such as "playground.first.damaged", or plain text, which is not translated.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import gradio as gr

from demo import languages
from demo.theme import STATIC

SCRIPT = (STATIC / "compare.js").read_text()
_ICON = '<svg viewBox="0 0 24 24" aria-hidden="true">{}</svg>'
_EXPAND = _ICON.format('<path d="M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"/><path d="M5 5l14 14M19 5L5 19"/>')  # open, close
_ARROWS = _ICON.format('<path d="M9 6l-6 6 6 6M15 6l6 6-6 6"/>')


@dataclass(frozen=True)
class ComparedImage:
    """An image of a comparison: its address, the label written on it, and its alternative text.

    Attributes:
        src: a data URI, or the URL of a file (`file_url`).
        label: one or two words, such as "Damaged".
        alt_text: what the image shows, for screen readers.
        values: replace the placeholders of `label` and `alt_text`.
    """

    src: str
    label: str
    alt_text: str
    values: dict[str, Any] = field(default_factory=dict)


def view(
    start: float = 50, value: str = "", elem_id: str | None = None, visible: bool = True, label: str = "page.compare.name"
) -> gr.HTML:
    """Return the component. Its value is the text of `render`, or "" to show nothing.

    The position of the divider and the chosen pair are kept when the value changes.

    Args:
        start: position of the divider at first, in percent of the width from the left.
        label: name of the view for screen readers.
    """
    # in the script, since gradio drops additional props in gr.update(visible=...)
    settings = json.dumps({"start": start, "name": label, "has_key": _is_key(label)})
    return gr.HTML(
        value, html_template="${value}", js_on_load=f"const settings = {settings};\n{SCRIPT}", apply_default_css=False,
        elem_id=elem_id, elem_classes="compare", visible=visible,
    )  # fmt: skip


def render(images: Sequence[ComparedImage], width: int, height: int) -> str:
    """Return the value of a `view` that compares consecutive images, in the order left to right.

    Args:
        images: two or three images of the same aspect ratio.
        width, height: of the images in pixels; only their ratio matters.
    """
    layers = "".join(
        '<figure class="compare-layer">'
        f'<img src="{html.escape(image.src)}" {_alt(image)} draggable="false">'
        f"{_label(image, 'figcaption')}</figure>"
        for image in images
    )
    handle = f'<div class="compare-handle" role="slider" tabindex="0" aria-valuemin="0" aria-valuemax="100">{_ARROWS}</div>'
    expand = f'<button type="button" class="compare-expand">{_EXPAND}</button>'
    return f'<div class="compare-view" style="--ratio: {width / height:.5g}">{layers}{handle}{expand}</div>{_pairs(images)}'


def file_url(component: gr.components.Component, path: str) -> str:
    """Return the URL of a file in gradio's cache, relative to the page. The file is deleted by age as one of `component`."""
    return "gradio_api/file=" + quote(component.move_resource_to_block_cache(path) or "")


def _pairs(images: Sequence[ComparedImage]) -> str:
    if len(images) < 3:
        return ""
    buttons = "".join(
        f'<button type="button" data-pair="{i}">{_label(left)} | {_label(right)}</button>'
        for i, (left, right) in enumerate(zip(images, images[1:], strict=False))
    )
    return f'<div class="compare-pairs" role="group" {languages.attributes(aria_label="page.compare.pairs")}>{buttons}</div>'


def _is_key(text: str) -> bool:
    return text in languages.table()


def _label(image: ComparedImage, tag: str = "span") -> str:
    if not _is_key(image.label):
        return f"<{tag}>{html.escape(image.label)}</{tag}>"
    names = languages.PLACEHOLDER.findall(languages.table()[image.label])
    return languages.html(image.label, tag, **{name: image.values[name] for name in names})


def _alt(image: ComparedImage) -> str:
    if _is_key(image.alt_text):
        return languages.attributes(image.values, alt=image.alt_text)
    return f'alt="{html.escape(image.alt_text)}"'
