"""Bodies of requests: bounded in bytes, files and time while they arrive, before anything collects them in memory."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from demo.server.limits.routes import Rule
from demo.server.limits.settings import MB, Limits

_AT_ONCE = 0.001  # s; what has arrived is read after the deadline too, when the server itself was late
_BOUNDARY = re.compile(r"""boundary=(?:"([^"]+)"|([^\s;,]+))""", re.IGNORECASE)


class Refusal(Exception):
    """A request that is not served.

    Attributes:
        status: HTTP status. sentence: for the client. retry_after: in seconds, 0 if the same request is never accepted.
    """

    def __init__(self, status: int, sentence: str, retry_after: float = 0.0):
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


class BoundedBody:
    """The `receive` of a request. Beyond a limit it reports a disconnection to the app, and keeps the reason in `refusal`.

    charge: called with the number of bytes of each part; may raise Refusal.
    """

    def __init__(
        self, scope: Scope, receive: Receive, rule: Rule, limits: Limits, charge: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        self._receive, self._rule, self._limits, self._charge, self._clock = receive, rule, limits, charge, clock
        self.refusal: Refusal | None = None
        self._received, self._complete, self._start = 0, False, clock()
        self._parts = _Parts(Headers(scope=scope).get("content-type", "")) if rule.is_upload else None

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        if self.refusal is None:
            try:
                return await self._next()
            except Refusal as refusal:
                self.refusal = refusal
        return {"type": "http.disconnect"}

    def check_declared(self, scope: Scope) -> None:
        """Raise Refusal if the announced length exceeds the limit, before any byte is read."""
        text = Headers(scope=scope).get("content-length", "0")
        if not text.isdecimal():
            raise Refusal(400, "The Content-Length of this request is not a number.")
        self._check_size(int(text))

    async def _next(self) -> Message:
        left = self._limits.body_grace + self._received / self._limits.body_speed - (self._clock() - self._start)
        try:
            message = await asyncio.wait_for(self._receive(), max(_AT_ONCE, left))
        except TimeoutError:
            raise Refusal(408, "The request arrived too slowly: send it again over a faster connection.") from None
        if message["type"] != "http.request":
            self._complete = True
            return message
        data = message.get("body", b"")
        self._received += len(data)
        self._check_size(self._received)
        self._charge(len(data))
        if self._parts and self._parts.count(data) > self._limits.upload_files:
            raise Refusal(413, f"The request has more than {self._limits.upload_files} files: upload fewer at once.")
        self._complete = not message.get("more_body")
        return message

    def _check_size(self, size: int) -> None:
        most = self._rule.max_body
        if most is None or size <= most:
            return
        if most == 0:
            raise Refusal(413, "This address takes no data: send the request without a body.")
        allowed = f"{most / MB:.0f} MB" if most >= MB else f"{most / 1024:.0f} KB"
        raise Refusal(413, f"The request is larger than {allowed}: send less data at once, and upload images first.")


class _Parts:
    """Counts the parts of a multipart body from its delimiters."""

    def __init__(self, content_type: str):
        found = _BOUNDARY.search(content_type)
        self._delimiter = b"--" + (found[1] or found[2]).encode("latin-1", "replace") if found else b""
        self._tail, self._found = b"", 0

    def count(self, data: bytes) -> int:
        """Return the number of parts that have begun."""
        if not self._delimiter:
            return 0
        text = self._tail + data
        self._found += text.count(self._delimiter)
        self._tail = text[-(len(self._delimiter) - 1) :] if len(self._delimiter) > 1 else b""
        # the delimiter after the last part is counted too, which allows one file more in the part that is not finished
        return self._found - 1
