"""The Restore a photo tab: layout and events.

One photo: all its faces are detected and restored; the face that is chosen with a numbered button or on the photo is compared
before and after, beside the whole photo. Several photos: their results are downloaded as a ZIP file.
"""

from __future__ import annotations

import html
import time
from pathlib import Path
from typing import Any

import gradio as gr

import gpen
from demo import compare, images, languages
from demo.photo import photo_files, photo_state, photo_views
from demo.photo.photo_state import UPSCALE_FACTORS, PhotoState
from demo.server import gradio_patches
from demo.server.events import EACH, LAST, take
from demo.server.messages import show_user_errors, without_paths
from demo.tabs.playground import NETWORK_LIMIT
from demo.theme import STATIC
from gpen.errors import GPENError
from gpen.restoration.paste import Background

SCRIPT = (STATIC / "photo.js").read_text()
PASTE_SCRIPT = (STATIC / "photo_paste.js").read_text()
FILE_TYPES = ["image", ".heic", ".heif"]
DOWNLOAD_JS = (
    "(address) => { if (!address) return; const link = document.createElement('a'); link.href = address; link.download = ''; "
    "link.click(); }"
)
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_BATCH_LIMIT: dict[str, Any] = {"concurrency_id": "photos", "concurrency_limit": 1}  # apart from the queue of single images
Updates = dict[Any, Any]  # component -> its new value or update


def tab(restorer: gpen.Restorer) -> None:
    """Build the tab inside the current gr.Blocks. `restorer` is a gpen.Restorer."""
    photo, several = gr.State(), gr.State([])  # PhotoState or None, and the files of several photos
    background_file = photo_state.find_background()
    gr.HTML(languages.html("photo.intro", tag="p"), elem_id="photo-sentence")
    with gr.Column(elem_id="photo-drop") as drop:
        upload, taken = _upload(elem_id="photo-upload"), _upload(visible=False)
        with gr.Row(elem_id="photo-start"):
            sample = gr.Button(languages.text("photo.sample"), elem_id="photo-sample", size="sm")
            hint = languages.html("photo.hint", tag="p", megabytes=images.MAX_BYTES // 2**20, count=photo_files.MAX_PHOTOS)
            gr.HTML(hint, elem_id="photo-hint", js_on_load=PASTE_SCRIPT)
    with gr.Row(elem_id="photo-bench", visible=False) as bench:
        with gr.Column(elem_id="photo-stage"):
            notice = gr.HTML(elem_id="photo-notice")
            title = gr.HTML(elem_id="photo-title")
            with gr.Column(
                elem_id="photo-face-box"
            ) as face_box:  # it is hidden instead of the comparison, which keeps its position
                face = compare.view(elem_id="photo-face", label="photo.face")
            numbers = gr.HTML(elem_id="photo-numbers", js_on_load=SCRIPT)
        with gr.Column(elem_id="photo-whole-box") as whole_box:
            whole = compare.view(elem_id="photo-whole", label="photo.whole")
        with gr.Column(elem_id="photo-controls"):
            with gr.Row(elem_id="photo-include", visible=False) as include_row:
                include = gr.Checkbox(True, label=languages.text("photo.include"), container=False, min_width=150)
                only = gr.Button(languages.text("photo.only_this"), size="sm", min_width=100)
                everyone = gr.Button(languages.text("photo.all_faces"), size="sm", min_width=80)
            strength = gr.Slider(
                0, 1, restorer.strength, step=0.01, label=languages.text("photo.strength"), buttons=[],
                info=languages.text("photo.strength_info"), elem_id="photo-strength",
            )  # fmt: skip
            upscale = gr.Radio(_choices(UPSCALE_FACTORS), value=1, label=languages.text("photo.enlarge"), elem_id="photo-size")
            background = gr.Checkbox(
                False, label=languages.text("photo.background"), info=languages.text("photo.background_info"), visible=False,
                elem_id="photo-background",
            )  # fmt: skip
            primary: dict[str, Any] = {"variant": "primary", "visible": False}
            centre = gr.Button(languages.text("photo.centre"), elem_id="photo-centre", **primary)
            restore_all = gr.Button(languages.text("photo.restore_all"), elem_id="photo-restore", **primary)
            with gr.Row(elem_id="photo-files"):
                download = gr.Button(
                    languages.text("photo.download_png"), size="sm", min_width=150, elem_id="photo-download", **primary
                )
                another = gr.Button(languages.text("photo.another"), size="sm", min_width=110, elem_id="photo-another")
            report = gr.HTML(elem_id="photo-report")
            address = gr.Textbox(visible=False)  # URL of the file to download

    settings = [strength, upscale, background]
    results = [face, face_box, whole, whole_box, title, numbers, report, download, centre, include_row]
    opened = [photo, several, drop, bench, notice, upscale, background, restore_all, *results]

    def model(wanted: bool) -> Background | None:
        return photo_state.background_model(background_file) if wanted and background_file else None

    def open_photos(paths: list[str]) -> Updates:
        if not paths:
            return {report: gr.skip()}
        if len(paths) > photo_files.MAX_PHOTOS:
            gr.Warning(f"These are {len(paths)} photos: choose at most {photo_files.MAX_PHOTOS}.", duration=20)
            return {report: gr.skip()}
        empty: Updates = {photo: None, several: [], restore_all: gr.update(visible=False), report: ""}
        page = empty | {drop: gr.update(visible=False), bench: gr.update(visible=True), include_row: gr.update(visible=False)}
        if len(paths) > 1:
            shown: Updates = {box: gr.update(visible=False) for box in (face_box, whole_box, title, numbers)}
            shown |= {several: paths, notice: photo_views.waiting_photos([Path(path).name for path in paths])}
            shown |= {upscale: _offer(UPSCALE_FACTORS), background: gr.update(visible=False, value=False)}
            shown |= {restore_all: gr.update(visible=True)}
            return page | shown | {centre: gr.update(visible=False), download: gr.update(visible=False)}
        try:
            new = photo_state.find_faces(restorer, paths[0])
            return page | show(new)
        except GPENError as error:
            gr.Warning(html.escape(without_paths(str(error))), duration=20)
            return empty

    def show(new: PhotoState) -> Updates:
        """Show a photo before it is restored."""
        factors = photo_state.upscale_factors(new)
        return {
            photo: new, title: gr.update(value=photo_views.title(new), visible=bool(new.faces)),
            face: "", face_box: gr.update(visible=bool(new.faces)), notice: photo_views.notice(new),
            numbers: gr.update(value=photo_views.numbers(new), visible=len(new.faces) > 1),
            whole: photo_views.unrestored(whole, new), whole_box: gr.update(visible=True), upscale: _offer(factors),
            background: gr.update(visible=background_file is not None and len(factors) > 1, value=False),
            centre: gr.update(visible=not new.faces), include_row: gr.update(visible=len(new.faces) > 1),
            download: gr.update(visible=False),
        }  # fmt: skip

    @show_user_errors
    def run(
        old: PhotoState | None,
        strength_value: float,
        factor: int,
        enlarged: bool,
        progress: Any = gr.Progress(),  # noqa: B008 - gradio requires it as a default value
    ) -> Updates:
        """Restore the included faces of a photo; does nothing without a photo or a face."""
        if old is None or not old.faces:
            return {report: gr.skip()}
        start = time.perf_counter()
        shown = restored(old, strength_value, factor, enlarged, lambda done, total: progress((done, total), unit=""))
        shown |= {title: gr.update(value=photo_views.title(old), visible=True), face_box: gr.update(visible=True)}
        shown |= {download: gr.update(value=languages.text("photo.download_png"), visible=True), centre: gr.update(visible=False)}
        return shown | {report: photo_views.report(old, time.perf_counter() - start)}

    def restored(
        old: PhotoState, strength_value: float, factor: int, enlarged: bool, progress: photo_state.Progress = None
    ) -> Updates:
        pair = photo_state.restore_preview(restorer, old, strength_value, factor, model(enlarged), progress)
        return {face: compared(old, strength_value), whole: photo_views.whole(whole, old, pair)}

    def compared(old: PhotoState, strength_value: float) -> str:
        return photo_views.face(photo_state.compared_face(old, strength_value), old.chosen + 1)

    @show_user_errors
    def restore_centre(
        old: PhotoState | None,
        strength_value: float,
        factor: int,
        enlarged: bool,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Updates:
        if old is None:
            raise GPENError("There is no photo: upload one first.")
        new = photo_state.as_aligned(old, restorer.alignment)
        return {photo: new, notice: photo_views.notice(new), **run(new, strength_value, factor, enlarged, progress)}

    @show_user_errors
    def again(old: PhotoState | None, strength_value: float, factor: int, enlarged: bool) -> Updates:
        """Show the result with another strength or size; does nothing before the first result."""
        if old is None or not old.restored:
            return {face: gr.skip()}
        return restored(old, strength_value, factor, enlarged)

    @show_user_errors
    def choose(event: gr.EventData, old: PhotoState | None, strength_value: float) -> Updates:
        """Compare another face."""
        index = getattr(event, "face", None)
        if old is None or isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(old.faces):
            return {title: gr.skip()}
        old.chosen = index
        photo_state.run_network(restorer, old, [index])
        return {face: compared(old, strength_value), title: photo_views.title(old), include: index in old.included}

    def selection(change: str) -> Any:
        @show_user_errors
        def select(old: PhotoState | None, wanted: bool, strength_value: float, factor: int, enlarged: bool) -> Updates:
            """Change which faces are restored: the chosen one, only the chosen one, or all."""
            if old is None:
                return {title: gr.skip()}
            every, one = set(range(len(old.faces))), {old.chosen}
            old.included = {"all": every, "only": one, "this": old.included | one if wanted else old.included - one}[change]
            shown = restored(old, strength_value, factor, enlarged)
            shown |= {title: photo_views.title(old), numbers: photo_views.numbers(old)}
            return shown | {include: old.chosen in old.included}

        return select

    @show_user_errors
    def restore_photos(
        paths: list[str],
        strength_value: float,
        factor: int,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Updates:
        start = time.perf_counter()
        result = photo_files.restore_photos(
            restorer, paths, strength_value, factor, progress=lambda done, total: progress((done, total), unit="")
        )
        return {
            notice: photo_views.finished_photos(result),
            report: photo_views.finished(time.perf_counter() - start),
            address: result.path and compare.file_url(whole, result.path),
            download: gr.update(value=languages.text("photo.download_zip"), visible=result.path is not None),
        }  # fmt: skip

    @show_user_errors
    def make_file(old: PhotoState | None, made: str, strength_value: float, factor: int, enlarged: bool) -> Updates:
        """Write the restored photo in full size, and return its URL; the ZIP file of several photos exists already."""
        if old is None:
            return {address: made}
        indices = sorted(old.included)
        _, after = photo_state.restore_faces(restorer, old, indices, strength_value, factor, background=model(enlarged))
        data = photo_files.marked_png(after, old, indices if strength_value > 0 else [])
        return {address: compare.file_url(whole, photo_files.save(data, f"{Path(old.path).stem}-restored.png"))}

    def reset() -> Updates:
        texts: Updates = dict.fromkeys((title, numbers, notice, report, whole, face, address), "")
        return {photo: None, several: [], drop: gr.update(visible=True), bench: gr.update(visible=False), **texts}

    limited: dict[str, Any] = {**NETWORK_LIMIT, **_PRIVATE}
    live: dict[str, Any] = {"show_progress": "hidden", **LAST, **limited}
    busy: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": whole, **LAST, **limited}
    starting: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": upload, **EACH, **limited}
    running: dict[str, Any] = {"show_progress": "full", "show_progress_on": face, **limited}
    for started in (
        take(upload.upload, upload, taken).then(open_photos, taken, opened, **starting),
        sample.click(lambda: open_photos([photo_files.sample_photo()]), None, opened, **starting),
    ):
        started.then(run, [photo, *settings], results, **EACH, **running)
    centre.click(restore_centre, [photo, *settings], [photo, notice, *results], **running)
    numbers.click(choose, [photo, strength], [face, title, include], show_progress="hidden", **EACH, **_PRIVATE)
    strength.input(again, [photo, *settings], [face, whole], **live)
    gr.on([upscale.input, background.input], again, [photo, *settings], [face, whole], **busy)
    for event, change in ((include.input, "this"), (only.click, "only"), (everyone.click, "all")):
        event(selection(change), [photo, include, *settings], [face, whole, title, numbers, include], **live)
    restore_all.click(
        restore_photos, [several, strength, upscale], [notice, report, address, download], show_progress="full",
        show_progress_on=report, **_BATCH_LIMIT, **_PRIVATE,
    )  # fmt: skip
    made = download.click(
        make_file, [photo, address, *settings], address, show_progress="minimal", show_progress_on=report, **limited
    )
    made.success(None, address, None, js=DOWNLOAD_JS, **_PRIVATE)
    again_from_start = [photo, several, drop, bench, title, numbers, notice, report, whole, face, address]
    another.click(reset, None, again_from_start, queue=False, show_progress="hidden", **_PRIVATE)


def _upload(**settings: Any) -> gr.File:
    """Return an upload for one or several photos that passes the paths of the uploaded files."""
    component = gr.File(
        file_count="multiple", file_types=FILE_TYPES, show_label=False, label=languages.text("photo.photos"), height=260,
        **settings,
    )  # fmt: skip
    folder = gradio_patches.upload_folder()
    gradio_patches.set_preprocess(component, lambda files: [images.uploaded_path(file.path, folder) for file in files or []])
    return component


def _choices(factors: tuple[int, ...] | list[int]) -> list[tuple[str, int]]:
    return [(f"× {factor}", factor) for factor in factors]


def _offer(factors: tuple[int, ...] | list[int]) -> dict:
    """Return an update of the choice of factors, or hide it if there is only one."""
    return gr.update(choices=_choices(factors), value=1, visible=len(factors) > 1)
