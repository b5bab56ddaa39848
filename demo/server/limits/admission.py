"""Admission of requests before routing: allowed routes, requests and bytes per visitor and network, room on the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.server.limits import routes
from demo.server.limits.bodies import BoundedBody, Refusal
from demo.server.limits.buckets import TokenBuckets
from demo.server.limits.identity import Visitor, visitor_of
from demo.server.limits.settings import MB, Limits
from demo.server.paths import path_of

NOT_SERVED = "This address is not served."
DISK_FULL = "The server has no room for further files: try again in a few minutes."


class AdmitRequests:
    """Answer requests that exceed a limit with one sentence, without calling the app or while its body arrives.

    own: routes of the app besides those of gradio. has_room: whether files of visitors may be written.
    """

    def __init__(self, app: ASGIApp, limits: Limits, own: Sequence[Route], has_room: Callable[[], bool]):
        self._app, self._limits, self._own, self._has_room = app, limits, own, has_room
        self._rules = routes.rules(limits)
        self._requests = TokenBuckets(limits.network_requests)
        self._network_bytes, self._visitor_bytes = TokenBuckets(limits.network_bytes), TokenBuckets(limits.visitor_bytes)
        self._open: Counter[str] = Counter()  # network -> requests that are being answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        visitor = visitor_of(scope)
        try:
            rule = self._admit(scope, visitor)
            body = BoundedBody(scope, receive, rule, self._limits, lambda count: self._charge(visitor, rule, count))
            body.check_declared(scope)
        except Refusal as refusal:
            return await _response(scope, refusal)(scope, receive, send)
        self._open[visitor.network] += 1
        try:
            await self._answer(scope, body, send)
        finally:
            self._open[visitor.network] -= 1
            if not self._open[visitor.network]:
                del self._open[visitor.network]

    async def _answer(self, scope: Scope, body: BoundedBody, send: Send) -> None:
        """Call the app; if the body exceeds a limit before a response has begun, send the reason instead of the response."""
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if started or not body.refusal:
                started = True
                await send(message)

        try:
            await self._app(scope, body, guarded)
        except Exception:  # a route that was waiting for the rest of the body
            if not body.refusal:
                raise
        if body.refusal and not started:
            await _response(scope, body.refusal)(scope, body, send)

    def _admit(self, scope: Scope, visitor: Visitor) -> routes.Rule:
        if not visitor.is_server:
            if wait := self._requests.take(visitor.network):
                raise _too_many("You have sent too many requests", wait)
            if self._open[visitor.network] >= self._limits.open_requests:
                raise _too_many("Too many requests from your network are open", 10)
        rule = routes.find(scope, self._rules, self._own)
        if rule is None:
            raise Refusal(404, NOT_SERVED)
        if rule.is_upload and not self._has_room():
            raise Refusal(507, DISK_FULL)
        return rule

    def _charge(self, visitor: Visitor, rule: routes.Rule, count: int) -> None:
        if rule.is_upload and not self._has_room():  # other uploads, or the votes, have taken it meanwhile
            raise Refusal(507, DISK_FULL)
        if visitor.is_server or not count:
            return
        wait = max(self._visitor_bytes.take(visitor.name, count), self._network_bytes.take(visitor.network, count))
        if wait:
            most = self._limits.visitor_bytes.burst / MB
            raise _too_many(f"You have sent more than {most:.0f} MB within a few minutes", wait)


def _too_many(what: str, wait: float) -> Refusal:
    return Refusal(429, f"{what}: wait for {wait + 0.5:.0f} seconds.", max(1.0, wait))


def _response(scope: Scope, refusal: Refusal) -> Response:
    """Return the response to a refused request. The rest of its body is not read, so that the connection is closed."""
    headers = {"Connection": "close", "Cache-Control": "no-store"}
    if refusal.retry_after:
        headers["Retry-After"] = f"{refusal.retry_after:.0f}"
    if path_of(scope) == routes.UPLOAD:  # the page shows the body of this response
        return PlainTextResponse(refusal.sentence, refusal.status, headers)
    return JSONResponse({"detail": refusal.sentence}, refusal.status, headers)
