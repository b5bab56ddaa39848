"""The page in a browser. Skipped without Chromium, except in CI."""

import json
import re
import time

import cv2
import numpy as np
import pytest

import app
from demo.tabs import playground
from tests.demo.accessibility import SCHEMES, assert_accessible
from tests.demo.conftest import TIMEOUT, wait_until
from tests.demo.pages import WIDE, swipe

NARROW = {"width": 390, "height": 844}
PHONE = {"viewport": NARROW, "has_touch": True, "is_mobile": True}
SHOWN = "document.querySelectorAll('#before-after img')[1]?.src"  # damaged, restored, original

pytestmark = pytest.mark.browser


def restored_image(page) -> str:
    """Data URI of the restored image."""
    return page.locator("#before-after img").nth(1).get_attribute("src")


def wait_for_another_image(page, old: str) -> None:
    page.wait_for_function(f"old => {SHOWN} && {SHOWN} !== old", arg=old)


def wait_for_image(page, address: str) -> None:
    page.wait_for_function(f"address => {SHOWN} === address", arg=address)


def slide(page, name: str, value: float) -> None:
    page.locator(f"#{name} input[type=range]").evaluate(
        "(slider, value) => { slider.value = value;slider.dispatchEvent(new Event('input', {bubbles: true})) }",
        value,
    )


def open_details(page) -> None:
    page.click("#teachers button >> nth=0")
    page.wait_for_selector("#steps figure")


def download(page, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(f"#download-{name}")
    return waiting.value.path().read_bytes()


def number(page, name: str) -> float:
    return float(page.locator(f"#{name} input[type=number]").input_value())


def test_slider_updates_image_formula_and_table(open_app):
    page = open_app()
    open_details(page)
    old, formula, table = restored_image(page), page.inner_text("#formula"), page.inner_text("#table")
    slide(page, "scale", 8)
    wait_for_another_image(page, old)
    wait_until(page, lambda: page.inner_text("#formula") != formula and "↓8" in page.inner_text("#formula"))
    wait_until(page, lambda: page.inner_text("#table") != table)
    page.click("#jpeg input")
    page.wait_for_function("!document.querySelector('#formula').innerText.includes('JPEG')")
    wait_until(page, lambda: page.locator("#steps figure.off").count() == 1)
    assert page.locator("#steps figure").count() == 6
    page.click("#blur-kind >> text=motion")
    page.wait_for_selector("#blur-angle", state="visible")


def test_last_of_many_slider_movements_is_shown(open_app):
    page = open_app()
    for value in range(1, 31):
        slide(page, "noise-sigma", value)
    page.wait_for_function("document.querySelector('#formula').innerText.includes('σ=30')")


def test_downloads_are_images_and_parameters_that_load_again(open_app, size, tmp_path):
    page = open_app()
    open_details(page)
    old, first = restored_image(page), download(page, "parameters")
    page.click("#look-3")
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
    page.set_input_files("#recipe-files input[type=file]", path)
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
    wait_until(page, lambda: page.locator("#upload img").count() == 0)  # the last file was removed
    page.wait_for_selector("#upload input[type=file]", state="attached")
    page.set_input_files("#upload input[type=file]", files["turned.jpg"])
    wait_for_another_image(page, old)
    own = restored_image(page)
    slide(page, "scale", 2)
    wait_for_another_image(page, own)


def test_invalid_parameters_are_shown_as_escaped_text(open_app, tmp_path):
    page = open_app()
    open_details(page)
    path = tmp_path / "evil.json"
    path.write_text(json.dumps({"<img src=x onerror='document.title=1'>": 1}))
    page.set_input_files("#recipe-files input[type=file]", path)
    page.wait_for_selector("[data-testid=toast-body]:has-text('no parameter')")
    assert page.locator("[data-testid=toast-body] img[src=x]").count() == 0 and page.title() != "1"


def test_click_selects_sample_face(open_app, files):
    page = open_app()
    first = restored_image(page)
    page.set_input_files("#upload input[type=file]", files["plain.png"])
    wait_for_another_image(page, first)
    assert "centre of the image" in page.inner_text("#face-note")
    page.click("#samples button >> nth=0")
    wait_for_image(page, first)
    assert "NASA" in page.inner_text("#face-note")


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1400 px", "390 px"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_page_fits_screen_and_makes_no_external_requests(open_app, server, viewport, scheme):
    page = open_app(viewport=viewport, color_scheme=scheme)
    page.click("#blur-kind >> text=anisotropic")
    page.wait_for_selector("#blur-angle", state="visible")
    open_details(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    edges = page.evaluate(
        "[...document.querySelectorAll('#bench *, #rest *')]"
        ".filter(e => e.checkVisibility() && !e.closest('.compare-view, .head label, pre'))"
        ".map(e => e.getBoundingClientRect().right)"
    )
    assert max(edges) <= viewport["width"]
    foreign = [url for url in page.asked if not url.startswith((server, "data:", "blob:"))]
    assert not foreign, foreign


def test_image_precedes_controls_on_a_phone(open_app):
    page = open_app(viewport=NARROW)
    tops = [page.locator(f"#{name}").bounding_box()["y"] for name in ("before-after", "face", "looks", "terms", "rest")]
    assert tops == sorted(tops) and tops[0] < 400


def test_every_image_is_png(open_app):
    page = open_app()
    open_details(page)
    sources = page.eval_on_selector_all("#bench img, #teachers img", "images => images.map(image => image.src)")
    assert len(sources) >= 3 + 6 + 2
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
    open_details(page)
    for name, key in (("noise-sigma input[type=number]", "noise_sigma"), ("seed input", "seed")):
        page.fill(f"#{name}", "")
        page.fill(f"#{name}", "33")
        wait_until(page, lambda key=key: json.loads(download(page, "parameters"))[key] == 33)
    assert page.locator("[data-testid=toast-body]").count() == 0


def line(x: float, y: float, dx: float, dy: float) -> list[tuple[float, float]]:
    """A path from (x, y) to (x + dx, y + dy) in ten steps."""
    return [(x + dx * k / 10, y + dy * k / 10) for k in range(11)]


def test_image_stays_visible_and_vertical_swipes_change_nothing_on_a_phone(open_app):
    page = open_app(**PHONE)
    open_details(page)
    page.evaluate("scrollTo(0, 250)")
    frame = page.locator("#before-after").bounding_box()
    assert 0 <= frame["y"] <= 1 and frame["height"] <= 0.46 * NARROW["height"]
    old = (restored_image(page), number(page, "blur-sigma"), page.get_attribute(".compare-handle", "aria-valuenow"))
    asked = len(page.asked)
    for place in ("#blur-sigma input[type=range]", "#before-after .compare-view", "#table td >> nth=1", "#steps img >> nth=1"):
        page.locator(place).scroll_into_view_if_needed()
        page.evaluate("scrollBy(0, -120)" if place.startswith("#blur") else "0")
        before, box = page.evaluate("scrollY"), page.locator(place).bounding_box()
        up = before > 300
        swipe(page, line(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2, 4, 150 if up else -150))
        assert abs(page.evaluate("scrollY") - before) > 60, place
    assert (restored_image(page), number(page, "blur-sigma"), page.get_attribute(".compare-handle", "aria-valuenow")) == old
    assert len(page.asked) == asked
    page.evaluate("scrollTo(0, 250)")
    box = page.locator("#blur-sigma input[type=range]").bounding_box()
    swipe(page, line(box["x"] + 60, box["y"] + box["height"] / 2, 120, 3))
    wait_for_another_image(page, old[0])
    assert number(page, "blur-sigma") > old[1]


def test_presets_are_applied_when_chosen_and_keep_the_ranges_of_sliders(open_app):
    page = open_app()
    ranges = "[...document.querySelectorAll('#terms input[type=range]')].map(e => [e.min, e.max])"
    first = page.evaluate(ranges)
    assert ["1", "64"] in first  # the scale
    formulas = [page.inner_text("#formula")]
    for k in range(4):
        page.click(f"#look-{k}")
        wait_until(page, lambda: page.inner_text("#formula") not in formulas)
        formulas.append(page.inner_text("#formula"))
    assert page.evaluate(ranges) == first
    assert "grey" in formulas[2] and "Small web image" in page.inner_text("#look-2")


def test_section_for_teachers_shows_what_was_invented_on_request(open_app):
    page = open_app()
    assert page.locator("#table table").count() == 0
    open_details(page)
    assert page.locator("#table th[scope=col]").count() == 2 and "LPIPS (AlexNet) is not shown" in page.inner_text("#table")
    initial = f'"blur_sigma": {playground.INITIAL_DEGRADATION.blur_sigma}'
    assert initial in page.inner_text("#recipe") and page.locator("#invented figure").count() == 0
    page.click("#invent")
    page.wait_for_selector("#invented figure >> nth=1")
    assert "Spread" in page.inner_text("#invented") and "Residual" in page.inner_text("#invented")
    slide(page, "scale", 8)
    page.wait_for_selector("#invented figure", state="detached")


def test_model_is_chosen_and_remembered_in_the_link(open_app):
    page = open_app(permissions=["clipboard-read", "clipboard-write"])
    page.click("#model input")
    page.click("[role=option]:has-text('random')")
    page.click("#copy-link")
    page.wait_for_function("document.querySelector('#copied').textContent.includes('copied')")
    query = page.evaluate("location.search")
    assert "model=random" in query
    again = open_app(query)
    again.wait_for_function("document.querySelector('#model input').value === 'random'")


def test_unknown_model_of_a_link_is_named(open_app):
    page = open_app("?model=none&scale=8.0")
    page.wait_for_selector("[data-testid=toast-body]:has-text('is not on this server')")
    wait_until(page, lambda: "↓8" in page.inner_text("#formula"))


@pytest.mark.slow
def test_open_section_for_teachers_has_no_violation(open_app):
    page = open_app(reduced_motion="reduce")
    open_details(page)
    page.click("#blur-kind >> text=anisotropic")
    page.wait_for_selector("#blur-angle", state="visible")
    page.click("#invent")
    page.wait_for_selector("#invented figure")
    assert_accessible(page)
