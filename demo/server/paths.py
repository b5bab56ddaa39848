"""Path of a request below the root of the app, which may itself be below a path of a proxy."""

from __future__ import annotations

from starlette.types import Scope


def path_of(scope: Scope) -> str:
    """Return the path of an HTTP request below `root_path`, decoded; it begins with a slash."""
    return scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) or "/"
