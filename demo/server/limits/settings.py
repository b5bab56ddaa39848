"""Numbers of all limits of the page, with the reason beside each; docs/deployment.md lists those that a visitor can reach."""

from __future__ import annotations

import os
from dataclasses import dataclass

from demo import images
from gpen.errors import GPENError

MB = 2**20


@dataclass(frozen=True)
class Rate:
    """A token bucket: `burst` tokens at once, then `per_second`."""

    burst: float
    per_second: float


@dataclass(frozen=True)
class Limits:
    """Limits per visitor (one opened page or one API client), per network (an address, or an IPv6 prefix of 64 bits) and in all.

    A class of pupils or an office shares one address, so that the limits of a network are those of several visitors.
    """

    trusted_proxies: int = 0  # proxies in front of the server that append to X-Forwarded-For
    network_requests: Rate = Rate(6000, 100)  # HTTP requests of any kind; opening the page takes about 150
    network_bytes: Rate = Rate(2048 * MB, 4 * MB)  # of request bodies
    visitor_bytes: Rate = Rate(600 * MB, 1 * MB)  # of request bodies: 20 photos of 25 MB, and as many again after ten minutes
    visitor_events: Rate = Rate(600, 10)  # events and API calls; dragging a slider without a pause sends 200 to 300 a minute
    new_visitors: Rate = Rate(200, 0.2)  # pages opened per network; further ones share the limits of one visitor
    open_requests: int = 400  # of a network at the same time; an opened page has two
    visitor_queue: int = 4  # events waiting or running; the page sends the next slider value after the last response
    network_queue: int = 32  # the same for a network, half of the queue
    upload_files: int = 20  # in one request
    upload_body: int = 20 * images.MAX_BYTES + 64 * 1024  # bytes
    editor_body: int = 12 * MB  # bytes, an image or a layer of a drawing
    mcp_body: int = 12 * MB  # bytes, an image as base64 text; larger files are uploaded
    json_body: int = 1 * MB  # bytes, events and API calls
    body_grace: float = 30.0  # s until a body must have arrived, plus the time at `body_speed`
    body_speed: float = 16 * 1024  # bytes/s, slower than a mobile connection of the second generation
    held_per_visitor: int = 24  # values in memory, such as the face of a visitor
    held_bytes: int = 512 * MB  # of these values of all visitors
    held_seconds: float = 3600.0  # after the last use
    file_seconds: float = 900.0  # age at which a temporary file is deleted
    file_interval: float = 60.0  # s between two searches for such files
    file_quota: int = 4096 * MB  # bytes of all temporary files
    free_disk: int = 512 * MB  # bytes that temporary files leave free, for the answers of raters
    event_seconds: float = 180.0  # of work for an event; it stops after the batch of faces that is running
    batch_seconds: float = 1800.0  # of work for several photos


def read_limits() -> Limits:
    """Return the limits with those of the environment variables. Raises GPENError for an invalid value."""
    on_space = "SPACE_ID" in os.environ
    return Limits(
        trusted_proxies=_number("GPEN_TRUSTED_PROXIES", 1 if on_space else 0),
        file_quota=_number("GPEN_TEMP_QUOTA_MB", 4096) * MB,
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()):
        raise GPENError(f"{name} is {text[:40]!r}: set it to a whole number from 0.")
    return int(text)
