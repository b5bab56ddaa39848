"""Access to the owner page: the token in GPEN_OWNER_TOKEN, a limit on wrong tokens, and a log of accesses.

The token is sent in a header of its own, because Spaces use Authorization. Wrong tokens of all clients together take from one
bucket; while it is empty, no token is compared, so that a flood of guesses closes the owner page, not the study.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable

from starlette.requests import Request

from demo.server.web import RequestError
from eval.preference.storage.events import now
from gpen.errors import GPENError

TOKEN_VARIABLE = "GPEN_OWNER_TOKEN"
MIN_LENGTH, MIN_CHARACTERS = 20, 10  # of a token, and different ones among them: a random one has 100 bits or more
WRONG_TOKEN_SECONDS = 0.5  # delay of the response to a wrong token
MAX_WRONG, REFILL = 20, 6.0  # wrong tokens in the bucket, and seconds until one more is allowed
LOG_INTERVAL = 3600.0  # s, between two log lines about the report, which the page requests every few seconds


def token() -> str | None:
    """Return the token of the owner, or None if the owner page is disabled."""
    return os.environ.get(TOKEN_VARIABLE) or None


def check_token() -> None:
    """Raise GPENError if the token can be guessed."""
    value = token()
    if value is not None and (len(value) < MIN_LENGTH or len(set(value)) < MIN_CHARACTERS):
        raise GPENError(
            f"{TOKEN_VARIABLE} can be guessed: it needs {MIN_LENGTH} or more characters, {MIN_CHARACTERS} of them different; "
            "generate one with python -c 'import secrets; print(secrets.token_urlsafe())'."
        )


class OwnerAccess:
    """The guard of the routes of the owner page."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._left, self._updated = float(MAX_WRONG), clock()
        self._logged = -LOG_INTERVAL

    async def __call__(self, request: Request) -> None:
        """Raise RequestError unless the request has the token in the header X-Owner-Token."""
        expected = token()
        if expected is None:
            raise RequestError(f"The owner page is disabled: set {TOKEN_VARIABLE} and restart the server.", 403)
        if self._refilled() < 1:
            self._log(request, "refused, too many wrong tokens")
            raise RequestError("Too many wrong tokens were sent to this server: wait for a minute and try again.", 429)
        given = request.headers.get("X-Owner-Token", "").encode("latin-1")  # starlette decodes headers so; owner.js sends UTF-8
        if not secrets.compare_digest(given, expected.encode()):
            with self._lock:
                self._left -= 1
            self._log(request, "refused, wrong token")
            await asyncio.sleep(WRONG_TOKEN_SECONDS)
            raise RequestError(f"This is not the token in {TOKEN_VARIABLE}: check it and try again.", 401)
        if not request.url.path.endswith("/report"):
            self._log(request, "accepted")
        elif self._clock() - self._logged >= LOG_INTERVAL:
            self._logged = self._clock()
            self._log(request, "accepted")

    def _refilled(self) -> float:
        """The wrong tokens that are left now."""
        with self._lock:
            before, self._updated = self._updated, self._clock()
            self._left = min(MAX_WRONG, self._left + (self._updated - before) / REFILL)
            return self._left

    def _log(self, request: Request, outcome: str) -> None:
        print(f"{now()} owner page: {request.url.path.rpartition('/owner/')[2]!r} {outcome}", file=sys.stderr, flush=True)
