"""The comparison of images: its HTML, and its use with keyboard, mouse and touch in a browser."""

import gradio as gr
import numpy as np
import pytest

from demo import compare, images, shell
from tests.demo.pages import swipe

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LABELS = ("damaged", "restored", "original")


def value(count: int, level: int) -> str:
    return compare.render(
        [
            compare.ComparedImage(
                images.data_uri(np.full((64, 96, 3), level + 40 * i, np.uint8)),
                f"playground.first.{label}",
                f"playground.first.{label}_image",
            )  # fmt: skip
            for i, label in enumerate(LABELS[:count])
        ],
        96,
        64,
    )


def test_text_is_escaped():
    text = compare.render([compare.ComparedImage("x", "<b>", '"><script>')] * 2, 2, 1)
    assert "<script" not in text and "<b>" not in text and "--ratio: 2" in text


def test_texts_have_keys_and_values():
    text = compare.render(
        [compare.ComparedImage("x", "playground.first.original", "playground.errors.image", {"method": "GPEN"})], 2, 1
    )
    assert '<figcaption data-text="playground.first.original">Original</figcaption>' in text
    assert 'alt="Where GPEN differs from the original" data-text-alt="playground.errors.image"' in text


def test_label_may_have_values():
    image = compare.ComparedImage("x", "variations.variation", "variations.variation_image", {"number": 3})
    text = compare.render([image], 2, 1)
    assert 'data-values="{&quot;number&quot;: 3}">Variation 3</figcaption>' in text and 'alt="Variation 3 of the face"' in text


def test_pairs_are_offered_for_three_images_only():
    assert "data-pair" not in value(2, 0) and value(3, 0).count("data-pair") == 2


def test_file_of_a_comparison_is_deleted_by_age(tmp_path):
    path = images.save(images.png(np.zeros((16, 16, 3), np.uint8)), compare.view().GRADIO_CACHE, "a b.png")
    with gr.Blocks():
        view = compare.view()
    assert compare.file_url(view, path).startswith("gradio_api/file=/") and "a%20b.png" in compare.file_url(view, path)
    assert path in view.temp_files


@pytest.fixture(scope="module")
def address():
    with gr.Blocks() as page:
        view = compare.view(35, value(3, 60), elem_id="view", label="playground.first.face")
        gr.Button("Update", elem_id="update").click(lambda: value(3, 100), None, view)
        for name, visible in (("hide", False), ("display", True)):
            gr.Button(name, elem_id=name).click(lambda visible=visible: gr.update(visible=visible), None, view)
        gr.HTML('<div style="height: 2000px"></div>')
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **shell.launch_settings([]))
    yield url
    page.close()


@pytest.fixture
def opened(visit, address):
    def open_view(**settings):
        page = visit(address, **settings)
        page.wait_for_selector("#view [aria-valuenow]")
        return page

    return open_view


def position(page) -> int:
    """Position of the divider in percent, after a check that the line is there."""
    now = int(page.get_attribute("#view .compare-handle", "aria-valuenow"))
    assert line(page) == pytest.approx(now, abs=0.1)
    return now


def line(page) -> float:
    left = page.evaluate("parseFloat(getComputedStyle(document.querySelector('#view .compare-view'), '::after').left)")
    return 100 * left / box(page)["width"]


def box(page) -> dict:
    return page.locator("#view .compare-view").bounding_box()


@pytest.mark.browser
def test_keyboard_and_mouse_reach_the_same_positions(opened):
    page = opened()
    handle = page.locator("#view .compare-handle")
    assert handle.get_attribute("role") == "slider" and position(page) == 35
    for target in (0, 1, 37, 50, 99, 100):
        handle.focus()
        page.keyboard.press("Home")
        for key, step in (("PageUp", 10), ("ArrowRight", 1)):
            for _ in range((target - position(page)) // step):
                page.keyboard.press(key)
        with_keys = (position(page), line(page))
        page.keyboard.press("End")
        frame = box(page)
        page.mouse.move(frame["x"] + 20, frame["y"] + 30)
        page.mouse.down()
        page.mouse.move(frame["x"] + frame["width"] * target / 100, frame["y"] + 30, steps=2)
        page.mouse.up()
        assert (position(page), line(page)) == with_keys and with_keys[0] == target


@pytest.mark.browser
def test_update_keeps_position_and_pair(opened):
    page = opened()
    page.locator("#view .compare-handle").press("ArrowLeft")
    page.click("#view [data-pair='1']")
    old = page.get_attribute("#view img >> nth=0", "src")
    page.click("#update")
    page.wait_for_function("old => document.querySelector('#view img').src !== old", arg=old)
    page.wait_for_selector("#view [aria-valuenow='34'][aria-label='Face: divider between Restored and Original']")
    assert page.eval_on_selector_all("#view .compare-layer", "e => e.map(x => x.dataset.side)") == ["none", "left", "right"]
    assert page.get_attribute("#view [data-pair='1']", "aria-pressed") == "true"


@pytest.mark.browser
def test_hiding_the_component_keeps_its_settings(opened):
    page = opened()
    page.locator("#view .compare-handle").press("ArrowLeft")
    page.click("#hide")
    page.wait_for_selector("#view", state="hidden")
    page.click("#display")
    page.wait_for_selector("#view [aria-label='Face: divider between Damaged and Restored']")
    assert position(page) == 35
    page.click("#display")  # an update of a component that is visible
    page.locator("#view .compare-handle").press("ArrowRight")
    page.wait_for_selector("#view [aria-valuenow='36'][aria-label^='Face:']")


@pytest.mark.browser
def test_update_is_in_language_of_the_browser(opened):
    page = opened(locale="de-DE")
    for update in (False, True):
        if update:
            old = page.get_attribute("#view img >> nth=0", "src")
            page.click("#update")
            page.wait_for_function("old => document.querySelector('#view img').src !== old", arg=old)
        page.wait_for_selector("#view figcaption:text('Beschädigt')")
        label, position = "Gesicht: Trennlinie zwischen Beschädigt und Restauriert", "35 % Beschädigt, 65 % Restauriert"
        page.wait_for_selector(f"#view [aria-label='{label}'][aria-valuetext='{position}']")
        assert page.get_attribute("#view .compare-expand", "title") == "Vollbild"
        assert page.inner_text("#view [data-pair='1']") == "Restauriert | Original"
    page.evaluate("document.documentElement.lang = 'es'")
    page.wait_for_selector("#view [aria-label='Rostro: divisor entre Dañado y Restaurado']")


@pytest.mark.browser
def test_full_screen_shows_the_whole_image_and_escape_closes(opened):
    page = opened()
    for size in ({"width": 500, "height": 900}, {"width": 1000, "height": 400}):
        page.set_viewport_size(size)
        page.click("#view .compare-expand")
        frame = box(page)
        assert frame["x"] >= 0 and frame["y"] >= 0 and frame["x"] + frame["width"] <= size["width"]
        assert frame["y"] + frame["height"] <= size["height"] and frame["width"] / frame["height"] == pytest.approx(1.5, abs=0.01)
        assert frame["width"] == size["width"] or frame["height"] > size["height"] - 60
        page.evaluate("document.querySelector('#update').click()")
        page.wait_for_timeout(100)
        assert page.locator("#view [popover]").count() == 1
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Escape")
        page.wait_for_selector("#view .compare-expand[aria-label='Full screen']")
    assert position(page) == 37


@pytest.mark.browser
def test_vertical_swipe_scrolls_and_only_the_handle_is_dragged(opened):
    page = opened(**PHONE)
    frame = box(page)
    handle = page.locator("#view .compare-handle").bounding_box()
    x, y = handle["x"] + 22, handle["y"] + 22
    for start in ((frame["x"] + 200, frame["y"] + 200), (x, y)):
        page.evaluate("scrollTo(0, 0)")
        swipe(page, [(start[0] + i % 2, start[1] - 15 * i) for i in range(8)])
        assert page.evaluate("scrollY") > 40 and position(page) == 35
    page.evaluate("scrollTo(0, 0)")
    swipe(page, [(frame["x"] + 200 - 10 * i, frame["y"] + 100) for i in range(8)])
    assert position(page) == 35
    swipe(page, [(x + 10 * i, y) for i in range(6)])
    assert position(page) > 45
