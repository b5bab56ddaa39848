"""Security headers of all responses."""

import asyncio

import pytest

from demo.server.limits.headers import AddSecurityHeaders, content_security_policy


@pytest.fixture
def environment(monkeypatch):
    for name in ("SPACE_ID", "GPEN_FRAME_ANCESTORS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def directives() -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in content_security_policy().split("; "))}


def test_page_loads_and_sends_nothing_elsewhere(environment):
    policy = directives()
    assert policy["default-src"] == ["'self'"] and policy["object-src"] == ["'none'"]
    assert not any("http" in value or value == "*" for values in policy.values() for value in values)


def test_frames_of_spaces_and_of_named_sites(environment):
    assert directives()["frame-ancestors"] == ["'self'"]
    environment.setenv("SPACE_ID", "me/faces")
    assert {"https://huggingface.co", "https://*.hf.space"} <= set(directives()["frame-ancestors"])
    environment.setenv("GPEN_FRAME_ANCESTORS", "https://school.example")
    assert directives()["frame-ancestors"][-1] == "https://school.example"


def test_every_response_has_the_headers(environment):
    environment.setenv("GPEN_FRAME_ANCESTORS", "https://a.example\r\nSet-Cookie: x=1")
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": [(b"referrer-policy", b"unsafe-url")]})

    async def send(message):
        sent.append(message)

    asyncio.run(AddSecurityHeaders(app)({"type": "http"}, None, send))
    headers = dict(sent[0]["headers"])
    assert headers[b"x-content-type-options"] == b"nosniff" and headers[b"referrer-policy"] == b"same-origin"
    assert b"\n" not in headers[b"content-security-policy"] and b"frame-ancestors 'self'" in headers[b"content-security-policy"]
