"""Security headers of all responses: content security policy, frames, types, referrer.

Gradio has scripts in its HTML and builds functions from text for gr.HTML, which the policy must allow; everything that a page
loads or sends must be from or to this server, so that an injected script could not send a photo to another one.
"""

from __future__ import annotations

import os

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SPACE_PAGES = "https://huggingface.co https://*.huggingface.co https://*.hf.space"  # embed the page of a Space in a frame


def content_security_policy() -> str:
    """Return the policy. GPEN_FRAME_ANCESTORS names further sites that may embed the page in a frame."""
    ancestors = ["'self'", SPACE_PAGES if "SPACE_ID" in os.environ else "", os.environ.get("GPEN_FRAME_ANCESTORS", "")]
    directives = {
        "default-src": "'self'",
        "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "frame-src": "'none'",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": " ".join(filter(None, ancestors)),
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


class AddSecurityHeaders:
    """Add the headers to every response."""

    def __init__(self, app: ASGIApp):
        self._app = app
        self._headers = {
            "content-security-policy": content_security_policy().replace("\n", " ").replace("\r", " "),
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "permissions-policy": "geolocation=(), microphone=(), payment=(), usb=(), camera=(self)",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)
