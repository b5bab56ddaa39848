"""All tabs are accessible: axe-core finds no violation, light and dark, wide and on a phone."""

import pytest

from demo import shell
from tests.demo.accessibility import assert_accessible

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("tab", shell.TABS)
def test_tab_has_no_violation_and_its_headings_are_an_outline_with_one_title(open_tab, tab):
    page = open_tab(tab, reduced_motion="reduce")
    assert_accessible(page)
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter(e => e.checkVisibility()).map(e => +e.tagName[1])"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False)), levels


def test_opened_footer_has_no_violation(open_tab):
    page = open_tab("leaderboard", reduced_motion="reduce")
    page.click("#about summary")
    assert_accessible(page)


def test_settings_have_no_violation(open_tab):
    page = open_tab("leaderboard", reduced_motion="reduce")
    page.click("footer .settings")
    page.wait_for_selector(".api-docs input")
    assert_accessible(page)


def test_motion_is_reduced_on_request(open_tab):
    page = open_tab("leaderboard", reduced_motion="reduce")
    longest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('*')].map(e => parseFloat(getComputedStyle(e).transitionDuration) || 0))"
    )
    assert longest <= 0.001
