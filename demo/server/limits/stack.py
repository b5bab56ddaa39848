"""The middleware of the page, outermost first: security headers, identity of the visitor, admission of the request.

All are plain ASGI: they pass on each part of a body or response as it arrives and collect none of them. Behind them are
gradio's routes, where `queue_limits` counts the events of each visitor, and `held`, `files` and `work` bound what an event
may use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.middleware import Middleware
from starlette.routing import Route

from demo.server.limits.admission import AdmitRequests
from demo.server.limits.headers import AddSecurityHeaders
from demo.server.limits.identity import IdentifyVisitors, Signer
from demo.server.limits.settings import Limits


def middleware(
    limits: Limits, signer: Signer, own: Sequence[Route] = (), has_room: Callable[[], bool] = lambda: True
) -> list[Middleware]:
    """Return the middleware for `launch(app_kwargs={"middleware": ...})`.

    own: routes of the app besides those of gradio. has_room: whether files of visitors may be written.
    """
    return [
        Middleware(AddSecurityHeaders),
        Middleware(IdentifyVisitors, limits=limits, signer=signer),
        Middleware(AdmitRequests, limits=limits, own=own, has_room=has_room),
    ]
