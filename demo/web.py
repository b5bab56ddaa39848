"""Plain HTTP routes beside gradio's: bytes in, JSON out, a user's mistake as one sentence.

Gradio's queue suits functions that take seconds. A rater's answer takes milliseconds and must be sent again when
it fails, so the rate tab talks to these routes; app.py hands them to launch(app_kwargs={"routes": ...}).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from gpen.errors import GPENError

MAX_BYTES = 16 * 1024  # of a request, unless a route says more


class Refused(GPENError):
    """A request that is answered with `status` and not with 400."""

    def __init__(self, sentence: str, status: int):
        super().__init__(sentence)
        self.status = status


def endpoint(
    function: Callable[[Request, bytes], object],
    most: int = MAX_BYTES,
    guard: Callable[[Request], Awaitable[None]] | None = None,
) -> Callable:
    """An async endpoint for starlette's Route that answers `function(request, body)`, run in a thread.

    `guard` may refuse a request before its body is read. What `function` returns goes out as JSON unless it is a
    Response. GPENError becomes {"error": sentence} with status 400 (it will never succeed), 503 where the error
    says retry (the same may be sent again later), or its own status.
    """

    async def answer(request: Request) -> Response:
        try:
            if guard:
                await guard(request)
            data = await _read(request, most)
            result = await run_in_threadpool(function, request, data)
        except GPENError as error:
            status = 503 if getattr(error, "retry", False) else getattr(error, "status", 400)
            return JSONResponse({"error": sentence(error)}, status, headers={"Cache-Control": "no-store"})
        except ClientDisconnect:
            return Response(status_code=400)
        if isinstance(result, Response):
            return result
        return JSONResponse(result, headers={"Cache-Control": "no-store"})

    return answer


def sentence(error: GPENError) -> str:
    """The error as a sentence of the page: command lines print it without a capital and a full stop."""
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


async def _read(request: Request, most: int) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise Refused(f"This request is larger than {most / 1024:.0f} KB: please send less at once.", 413)
    return bytes(data)
