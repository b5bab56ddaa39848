"""The routes of gradio that the page, API clients and MCP clients need; all others are answered with status 404.

Gradio serves further routes that this page does not use, among them a monitoring page, a conversion of screen recordings, links
to a stored state and a proxy for other Spaces. The routes that the app adds itself are allowed as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.routing import Match, Route
from starlette.types import Scope

from demo.server.limits.settings import Limits
from demo.server.paths import path_of

API = "/gradio_api"
UPLOAD = f"{API}/upload"
_READ = ("GET", "HEAD", "OPTIONS")
_WRITE = ("POST", "OPTIONS")
_NAME = "[^/]+"
_PAGE = (
    "/|/config|/theme[.]css|/favicon[.]ico|/robots[.]txt|/manifest[.]json|/pwa_icon(/[^/]+)?|/(static|assets|svelte)/.+",
    f"{API}/(info|openapi[.]json|app_id|startup-events|theme[.]css|queue/data|queue/status|upload_progress)",
    f"{API}/(heartbeat/{_NAME}|call/{_NAME}/{_NAME}|call/v2/{_NAME}/{_NAME})",
    f"{API}/file=(/|[A-Za-z]:[/\\\\]).+",  # a path; gradio would also fetch a URL
    "/login/(huggingface|callback)|/logout",  # GPEN_LOGIN=1, with an account of Hugging Face
    f"{API}/dev/reload",  # `gradio app.py`; without it gradio answers with an error
)
_EVENTS = f"{API}/(queue/join|cancel|reset|run/{_NAME}|call/{_NAME}|call/v2/{_NAME})"
_MCP = f"{API}/mcp(/(http|sse|schema|messages))?"


@dataclass(frozen=True)
class Rule:
    """An allowed kind of request.

    Attributes:
        path: regular expression of the complete path, without a slash at its end.
        methods: HTTP methods.
        max_body: bytes; None: the route bounds its body itself.
        is_upload: whether files are written.
    """

    path: re.Pattern
    methods: tuple[str, ...]
    max_body: int | None = 0
    is_upload: bool = False


def rules(limits: Limits) -> list[Rule]:
    """Return the rules for the routes of gradio."""
    return [
        *(Rule(re.compile(path), _READ) for path in _PAGE),
        Rule(re.compile(_EVENTS), _WRITE, limits.json_body),
        Rule(re.compile(f"{API}/component_server"), _WRITE, limits.editor_body, is_upload=True),
        Rule(re.compile(UPLOAD), _WRITE, limits.upload_body, is_upload=True),
        Rule(re.compile(_MCP), (*_READ, "POST", "DELETE"), limits.mcp_body),
    ]


def find(scope: Scope, allowed: Sequence[Rule], own: Sequence[Route]) -> Rule | None:
    """Return the rule for a request, None if it is not allowed. `own` are the routes of the app, whose methods it checks."""
    path = path_of(scope)
    if any(route.matches(scope)[0] != Match.NONE for route in own):
        return Rule(re.compile(re.escape(path)), (scope["method"],), None)
    trimmed = path.rstrip("/") or "/"
    return next((rule for rule in allowed if scope["method"] in rule.methods and rule.path.fullmatch(trimmed)), None)
