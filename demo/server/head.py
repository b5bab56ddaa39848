"""The head of the page: title, description, icon, link preview and scripts; and compression of HTML and JSON.

Gradio's HTML has a link preview of gradio with images from other servers, and no title. It is replaced as the page is sent.
Gradio compresses files by their extension, which the page itself and its configuration do not have.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.languages import english
from demo.server.paths import path_of

STATIC = Path(__file__).parents[1] / "static"
ICON = STATIC / "icon.svg"
PREVIEW = STATIC / "preview.jpg"
PREVIEW_SIZE = (1200, 630)  # px, width and height
SCRIPTS = ("page.js", "languages.js", "tabs.js", "accessibility.js")  # in order of dependency
COMPRESSED = ("/", "/config", "/gradio_api/info")  # paths without an extension; never event streams
# The address in the dialogs of gradio, which the style sheets of launch() do not reach: its contrast in dark mode is 3.
STYLE = ".dark .api-docs .url { color: var(--primary-400); }"
_PREVIEW_TAGS = re.compile(rb'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>')


def middleware() -> list[Middleware]:
    """Return the middleware for `launch(app_kwargs={"middleware": ...})`."""
    return [Middleware(CompressPages), Middleware(ReplaceHead)]


def routes() -> list[Route]:
    """Return the route of the preview image."""

    def preview(request: Request) -> FileResponse:
        return FileResponse(PREVIEW, headers={"Cache-Control": "public, max-age=86400"})

    return [Route(f"/{PREVIEW.name}", preview)]


def head(address: str) -> str:
    """Return the elements to add to the head of the page at `address`, a URL that ends with a slash.

    The Open Graph protocol requires complete addresses, so that of the image is built from the address of the request.
    """
    title, description = english("page.title"), english("page.description")
    width, height = PREVIEW_SIZE
    properties = {
        "og:type": "website", "og:url": address, "og:title": title, "og:description": description,
        "og:image": f"{address}{PREVIEW.name}", "og:image:width": width, "og:image:height": height,
        "og:image:alt": english("page.preview"),
    }  # fmt: skip
    named = {"description": description, "twitter:card": "summary_large_image", "color-scheme": "light dark"}
    tags = [f"<title>{html.escape(title)}</title>", '<link rel="icon" type="image/svg+xml" href="favicon.ico">']
    tags += [f'<meta property="{name}" content="{html.escape(str(value))}">' for name, value in properties.items()]
    tags += [f'<meta name="{name}" content="{html.escape(value)}">' for name, value in named.items()]
    scripts = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)
    tags.append(f"<style>{STYLE}</style>")
    return "\n".join([*tags, f"<script>(() => {{\n{scripts}\n}})();</script>\n"])


def page_address(request: Request) -> str:
    """Return the address of the page as the visitor sees it; a proxy names it in headers."""
    named = {name: request.headers.get(f"x-forwarded-{name}", "").split(",")[0].strip() for name in ("proto", "host")}
    scheme = named["proto"] if named["proto"] in ("http", "https") else request.url.scheme
    return f"{scheme}://{named['host'] or request.url.netloc}{request.scope.get('root_path', '').rstrip('/')}/"


class CompressPages:
    """Compress the responses of the paths in COMPRESSED with gzip."""

    def __init__(self, app: ASGIApp):
        self._app, self._compressed = app, GZipMiddleware(app, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._compressed if _path(scope) in COMPRESSED else self._app)(scope, receive, send)


class ReplaceHead:
    """Replace gradio's link preview in the HTML of the page by `head`."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _path(scope) != "/" or scope["method"] != "GET":
            return await self._app(scope, receive, send)
        added = head(page_address(Request(scope))).encode()
        start: Message = {}
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            before, end, after = bytes(body).partition(b"</head>")
            data = _PREVIEW_TAGS.sub(b"", before) + added + end + after if end else before
            MutableHeaders(raw=start["headers"])["content-length"] = str(len(data))
            await send(start)
            await send({"type": "http.response.body", "body": data})

        await self._app(scope, receive, collect)


def _path(scope: Scope) -> str | None:
    """Return the path of an HTTP request below the root of the app, None for other connections."""
    return path_of(scope) if scope["type"] == "http" else None
