"""Plain HTTP routes in addition to gradio's: bytes in, JSON out, user errors as one message.

Gradio's queue is made for functions that take seconds. The answer of a rater takes milliseconds and is sent again if it
fails, so the Rate tab uses these routes; app.py passes them to launch(app_kwargs={"routes": ...}).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from gpen.errors import GPENError

MAX_BYTES = 16 * 1024  # of a request body, by default


class RequestError(GPENError):
    """A rejected request with an HTTP status other than 400."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def json_endpoint(
    function: Callable[[Request, bytes], object],
    max_bytes: int = MAX_BYTES,
    guard: Callable[[Request], Awaitable[None]] | None = None,
    run: Callable[..., Awaitable[object]] = run_in_threadpool,
) -> Callable:
    """Return an async endpoint for starlette's Route that calls `run(function, request, body)`, by default in a thread.

    `guard` can reject a request before its body is read. The result of `function` is sent as JSON unless it is a Response.
    A GPENError becomes {"error": message} with status 400 (permanent), 503 if the error has `retry` set (the same request
    may be sent again later), or the status of the error.
    """

    async def answer(request: Request) -> Response:
        try:
            if guard:
                await guard(request)
            data = await _read(request, max_bytes)
            result = await run(function, request, data)
        except GPENError as error:
            status = 503 if getattr(error, "retry", False) else getattr(error, "status", 400)
            return JSONResponse({"error": error_message(error)}, status, headers={"Cache-Control": "no-store"})
        except ClientDisconnect:
            return Response(status_code=400)
        if isinstance(result, Response):
            return result
        return JSONResponse(result, headers={"Cache-Control": "no-store"})

    return answer


def error_message(error: GPENError) -> str:
    """Return the message of the error with a capital first letter and a full stop."""
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


async def _read(request: Request, max_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise RequestError(f"The request is larger than {max_bytes / 1024:.0f} KB: send less data at once.", 413)
    return bytes(data)
