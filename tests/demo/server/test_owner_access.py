"""Access to the owner page: tokens that can be guessed, floods of guesses, the log."""

import asyncio
import secrets

import pytest
from starlette.requests import Request

from demo.server import owner_access
from demo.server.owner_access import MAX_WRONG, REFILL, TOKEN_VARIABLE, OwnerAccess, check_token
from demo.server.web import RequestError
from gpen.errors import GPENError
from tests.clock import Clock

TOKEN = "Zt4-kQ9_xw2LmN7pRv1Y"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def access(clock, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.setattr(owner_access, "WRONG_TOKEN_SECONDS", 0)
    return OwnerAccess(clock)


def ask(access, token, call="export/csv"):
    """The status of a request, 200 if it is accepted."""
    headers = [(b"x-owner-token", token.encode())]
    address = {"path": f"/study/owner/{call}", "query_string": b"", "server": ("x", 80)}
    request = Request({"type": "http", "headers": headers, **address})
    try:
        asyncio.run(access(request))
    except RequestError as error:
        return error.status
    return 200


@pytest.mark.parametrize("token", ["secret", "password1234", "a" * 30, "1212121212121212121212", TOKEN[:19]])
def test_token_that_can_be_guessed_is_refused_at_the_start(monkeypatch, token):
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(GPENError, match="can be guessed: it needs 20 or more characters"):
        check_token()


def test_generated_token_is_accepted(monkeypatch):
    for token in ("", *(secrets.token_urlsafe() for _ in range(200)), *(secrets.token_hex(16) for _ in range(5))):
        monkeypatch.setenv(TOKEN_VARIABLE, token)
        if len(set(token)) >= owner_access.MIN_CHARACTERS or not token:
            check_token()


def test_guesses_of_all_clients_take_from_one_bucket(access, clock):
    """Failure sequence: each guess waited half a second, but any number of connections guessed at once."""
    assert [ask(access, "guess") for _ in range(MAX_WRONG + 3)] == [401] * MAX_WRONG + [429] * 3
    assert ask(access, TOKEN) == 429  # nothing is compared, so that a guess learns nothing
    clock.now = REFILL
    assert [ask(access, TOKEN), ask(access, TOKEN), ask(access, "guess"), ask(access, TOKEN)] == [200, 200, 401, 429]
    clock.now = 1e6
    assert [ask(access, "guess") for _ in range(MAX_WRONG + 1)] == [401] * MAX_WRONG + [429]


def test_accesses_are_logged_without_the_token(access, clock, capsys):
    ask(access, "guess")
    ask(access, TOKEN)
    for _ in range(5):  # the page requests the report every few seconds
        ask(access, TOKEN, "report")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" owner page: ")[1] for line in lines] == [
        "'export/csv' refused, wrong token", "'export/csv' accepted", "'report' accepted"
    ]  # fmt: skip
    assert not any(TOKEN in line or "guess" in line for line in lines)
    clock.now = 2 * owner_access.LOG_INTERVAL
    ask(access, TOKEN, "report\nforged line")
    assert capsys.readouterr().err.count("\n") == 1
