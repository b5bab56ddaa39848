"""What a rater does in the browser, for the tests of the Rate tab."""

from eval.preference.survey import Survey

TRIES, WAIT = 1000, 60  # ms between attempts: the page ignores keys and clicks that come too early


def repeat(page, action, until: str) -> None:
    """Repeat the action until the selector `until` matches."""
    for _ in range(TRIES):
        action()
        if page.locator(until).count():
            return
        page.wait_for_timeout(WAIT)
    raise AssertionError(f"{until} was not reached; the page says: {page.inner_text('.rate')}")


def press(page, key: str, until: str) -> None:
    repeat(page, lambda: page.keyboard.press(key), until)


def done(number: int, total: int = 5) -> str:
    return f".progress span:text-is('{number} of {total}')"


def begin(page, key: str = "ArrowLeft") -> None:
    """Consent and complete the practice trial."""
    page.click("text=I agree")
    page.wait_for_selector(".practice")
    press(page, key, ".why")
    page.keyboard.press("Enter")
    page.click("text=Start")
    page.wait_for_selector(".candidate img")


def wait_for_answers(page, survey: Survey, count: int, rater: str | None = None) -> list:
    for _ in range(TRIES):
        stored = [a for a in survey.store.votes(survey.study.name) if rater in (None, a.rater)]
        if len(stored) == count:
            return stored
        page.wait_for_timeout(WAIT)
    raise AssertionError(f"{len(stored)} answers are stored, not {count}")


def rater_of(page, survey: Survey) -> str:
    codes = page.evaluate("Object.entries(localStorage).filter(([key]) => key.endsWith('.code')).map(([, code]) => code)")
    assert len(codes) == 1
    return survey.rater(codes[0])
