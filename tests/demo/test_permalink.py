"""Links contain all settings of the playground and nothing of the image."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import permalink
from gpen.degradation.degradation import PRESETS, Degradation
from gpen.errors import GPENError
from tests.demo.conftest import wait_until


@given(st.sampled_from(sorted(PRESETS)), st.integers(0, 10_000))
def test_query_round_trip_preserves_settings(preset, seed):
    drawn = Degradation.sample(preset, seed=seed, size=256)
    if drawn.scale is not None and drawn.scale < 0.5:
        with pytest.raises(GPENError):
            permalink.from_query(permalink.to_query(drawn))
    else:
        assert permalink.from_query(permalink.to_query(drawn)) == drawn
    assert len(permalink.to_query(drawn)) < permalink.MAX_QUERY_LENGTH


def test_query_contains_only_enabled_fields():
    assert permalink.to_query(Degradation(blur_sigma=4.0, scale=8.0)) == "?blur_sigma=4.0&scale=8.0"
    assert permalink.from_query(permalink.to_query(Degradation())) == Degradation()


@given(st.text(min_size=1, max_size=40))
@pytest.mark.slow
def test_query_contains_the_model(name):
    query = permalink.to_query(Degradation(scale=2.0), name)
    assert permalink.model_name(query) == name and permalink.from_query(query) == Degradation(scale=2.0)
    assert permalink.model_name(permalink.to_query(Degradation())) == ""


@pytest.mark.parametrize("text", ["", "?", "?__theme=dark&view=api", "?image=/etc/passwd", "?=&&&=x"])
def test_query_without_settings_returns_none(text):
    assert permalink.from_query(text) is None


@pytest.mark.parametrize(
    "text", ["?scale=0.01", "?blur_sigma=NaN", "?blur_sigma=<b>", "?seed=-1", "?seed=[[[[", "?jpeg_quality=1e9", "?grey=[1]",
             "?colour_shift=" + "[" * 1900, "?noise_sigma={}", "?blur_kind=5", "?shift=%22%22"],
)  # fmt: skip
def test_invalid_value_raises_one_line_error(text):
    with pytest.raises(GPENError) as caught:
        permalink.from_query(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.browser
def test_link_opens_with_its_settings_and_is_copied(open_app):
    page = open_app("?scale=6.0&noise_sigma=3.0&__theme=light", permissions=["clipboard-read", "clipboard-write"])
    page.wait_for_function("document.querySelector('#scale input[type=number]')?.value == '6'")
    wait_until(page, lambda: "↓6" in page.inner_text("#formula"))
    page.click("#copy-link")
    page.wait_for_selector("#copy-link[data-said*='Link copied']")
    page.wait_for_function("document.querySelector('#copied').textContent.includes('Link copied')")
    page.wait_for_function("!location.search.includes('theme')")
    wait_until(page, lambda: page.evaluate("navigator.clipboard.readText()") == page.url)
    assert permalink.from_query(httpx.URL(page.url).query.decode()).scale == 6.0
