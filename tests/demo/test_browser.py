"""The page in a browser. Skipped without Chromium, except in CI."""

import json
import re
import time

import cv2
import numpy as np
import pytest

import app
from tests.demo.conftest import TIMEOUT, WIDE, wait_until

NARROW = {"width": 390, "height": 844}
SHOWN = "[...document.querySelectorAll('#before-after img')].at(-1)?.src"

pytestmark = pytest.mark.browser


def restored_image(page) -> str:
    """URL of the restored image, which contains a hash of the image."""
    return page.locator("#before-after img").last.get_attribute("src")


def wait_for_another_image(page, old: str) -> None:
    page.wait_for_function(f"old => {SHOWN} && {SHOWN} !== old", arg=old)


def wait_for_image(page, address: str) -> None:
    page.wait_for_function(f"address => {SHOWN} === address", arg=address)


def slide(page, name: str, value: float) -> None:
    page.locator(f"#{name} input[type=range]").evaluate(
        "(slider, value) => { slider.value = value;slider.dispatchEvent(new Event('input', {bubbles: true})) }",
        value,
    )


def download(page, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(f"#download-{name}")
    return waiting.value.path().read_bytes()


def number(page, name: str) -> float:
    return float(page.locator(f"#{name} input[type=number]").input_value())


def test_slider_updates_image_formula_and_table(open_app):
    page = open_app()
    old, formula, table = restored_image(page), page.inner_text("#formula"), page.inner_text("#table")
    slide(page, "scale", 8)
    wait_for_another_image(page, old)
    wait_until(page, lambda: page.inner_text("#formula") != formula and "↓8" in page.inner_text("#formula"))
    wait_until(page, lambda: page.inner_text("#table") != table)
    page.click("#jpeg input")
    page.wait_for_function("!document.querySelector('#formula').innerText.includes('JPEG')")
    wait_until(page, lambda: page.locator("#steps figure").count() == 5)
    page.click("#blur-kind >> text=motion")
    page.wait_for_selector("#blur-angle", state="visible")
    page.wait_for_selector("#steps figure")


def test_last_of_many_slider_movements_is_shown(open_app):
    page = open_app()
    for value in range(1, 31):
        slide(page, "noise-sigma", value)
    page.wait_for_function("document.querySelector('#formula').innerText.includes('σ=30')")


def test_downloads_are_images_and_parameters_that_load_again(open_app, size, tmp_path):
    page = open_app()
    old, first = restored_image(page), download(page, "parameters")
    page.click("#dice")
    wait_for_another_image(page, old)
    wait_until(page, lambda: download(page, "parameters") != first)  # the parts of the page are updated one after another
    for name in ("degraded", "restored"):
        data = download(page, name)
        assert data.startswith(b"\x89PNG")
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (size, size, 3)
    parameters = download(page, "parameters")
    path = tmp_path / "mine.json"
    path.write_bytes(parameters)
    drawn, shown = restored_image(page), json.loads(parameters)["noise_sigma"] or 0
    wait_until(page, lambda: number(page, "noise-sigma") == shown)
    slide(page, "noise-sigma", 50 - shown)
    wait_for_another_image(page, drawn)
    page.set_input_files("#files input[type=file]", path)
    wait_for_image(page, drawn)
    wait_until(page, lambda: number(page, "noise-sigma") == shown)
    wait_until(page, lambda: download(page, "parameters") == parameters)


def test_damaged_file_shows_error_and_page_keeps_working(open_app, files):
    page = open_app()
    old = restored_image(page)
    for name, words in (
        ("text.png", "unknown format"),
        ("cut-off.jpg", "truncated"),
        ("1x1.png", "1 x 1 pixels"),
    ):
        page.set_input_files("#upload input[type=file]", files[name])
        page.wait_for_selector(f"[data-testid=toast-body]:has-text('{words}')")
        assert restored_image(page) == old
    page.wait_for_selector("#upload input[type=file]", state="attached")
    page.set_input_files("#upload input[type=file]", files["turned.jpg"])
    wait_for_another_image(page, old)
    own = restored_image(page)
    slide(page, "scale", 2)
    wait_for_another_image(page, own)


def test_invalid_parameters_are_shown_as_escaped_text(open_app, tmp_path):
    page = open_app()
    path = tmp_path / "evil.json"
    path.write_text(json.dumps({"<img src=x onerror='document.title=1'>": 1}))
    page.set_input_files("#files input[type=file]", path)
    page.wait_for_selector("[data-testid=toast-body]:has-text('no parameter')")
    assert page.locator("[data-testid=toast-body] img[src=x]").count() == 0 and page.title() != "1"


def test_click_selects_sample_face(open_app, files):
    page = open_app()
    first = restored_image(page)
    page.set_input_files("#upload input[type=file]", files["plain.png"])
    wait_for_another_image(page, first)
    page.click("#samples button.thumbnail-item")
    wait_for_image(page, first)


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1400 px", "390 px"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_screen_and_makes_no_external_requests(open_app, server, viewport, scheme):
    page = open_app(viewport=viewport, color_scheme=scheme)
    page.click("#blur-kind >> text=anisotropic")
    page.wait_for_selector("#blur-angle", state="visible")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    edges = page.evaluate(
        "[...document.querySelectorAll('#bench *')]"
        ".filter(e => e.checkVisibility() && !e.closest('.slider-wrap, .head label'))"
        ".map(e => e.getBoundingClientRect().right)"
    )
    assert max(edges) <= viewport["width"]
    foreign = [url for url in page.asked if not url.startswith((server, "data:", "blob:"))]
    assert not foreign, foreign


def test_image_precedes_controls_on_a_phone(open_app):
    page = open_app(viewport=NARROW)
    tops = [page.locator(f"#{name}").bounding_box()["y"] for name in ("before-after", "controls", "towards-original", "rest")]
    assert tops == sorted(tops) and tops[0] < 400


def test_every_image_is_png(open_app):
    page = open_app()
    sources = page.eval_on_selector_all("#bench img", "images => images.map(image => image.src)")
    assert len(sources) > 12
    assert all(re.match(r"data:image/png|http.*\.png$", source) for source in sources)


def test_session_state_is_deleted_when_visitor_leaves(visit, restorer, files):
    page = app.build(restorer)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False)
    try:
        shown = visit(url)
        shown.wait_for_selector("#before-after img")
        wait_until(shown, lambda: any("queue/join" in asked for asked in shown.asked))
        old = restored_image(shown)
        shown.set_input_files("#upload input[type=file]", files["plain.png"])
        wait_for_another_image(shown, old)
        assert len(page.state_holder.session_data) == 1
        shown.context.close()
        end = time.monotonic() + TIMEOUT
        while page.state_holder.session_data and time.monotonic() < end:
            time.sleep(0.1)
        assert not page.state_holder.session_data
    finally:
        page.close()


def test_empty_number_field_is_not_an_error(open_app):
    page = open_app()
    for name, key in (("noise-sigma input[type=number]", "noise_sigma"), ("seed input", "seed")):
        page.fill(f"#{name}", "")
        page.fill(f"#{name}", "33")
        wait_until(page, lambda key=key: json.loads(download(page, "parameters"))[key] == 33)
    assert page.locator("[data-testid=toast-body]").count() == 0
