"""Identity of visitors: the address behind proxies, signed cookies, requests of the server itself."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.server.limits.identity import (
    COOKIE,
    HEADER,
    SERVER_HEADER,
    IdentifyVisitors,
    Signer,
    client_address,
    current,
    network,
    visitor_of,
)
from demo.server.limits.settings import Limits, Rate

ADDRESSES = st.ip_addresses().map(str)
OUTSIDE = st.ip_addresses(v=4, network="198.51.100.0/24").map(str)


@given(st.lists(st.text(max_size=20), max_size=4), OUTSIDE, st.integers(1, 3), st.data())
def test_nothing_that_the_client_writes_changes_its_address(written, address, proxies, data):
    appended = [address, *(data.draw(OUTSIDE) for _ in range(proxies - 1))]
    forwarded = ",".join([*written, *appended])
    assert client_address("10.0.0.1", forwarded, proxies) == address
    assert client_address("10.0.0.1", f"{forwarded}, 10.1.2.3, fd00::1", proxies) == address  # internal hops


@given(ADDRESSES, st.text(max_size=40))
def test_header_is_ignored_without_proxies(peer, forwarded):
    assert client_address(peer, forwarded, 0) == peer


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [("", 1, "10.0.0.9"), ("192.168.1.5", 1, "192.168.1.5"), ("1.2.3.4", 3, "1.2.3.4"), ("1.2.3.4:55", 1, "1.2.3.4"),
     ("[2001:db8::7]:443", 1, "2001:db8::7"), ("6.6.6.6, 1.2.3.4, 5.6.7.8", 2, "1.2.3.4")],
)  # fmt: skip
def test_address_behind_proxies(forwarded, proxies, address):
    assert client_address("10.0.0.9", forwarded, proxies) == address


def test_networks():
    assert network("2001:db8:0:1::1") == network("2001:db8:0:1:ffff::2") != network("2001:db8:0:2::1")
    assert network("::ffff:192.0.2.1") == "192.0.2.1" == network("192.0.2.1") and network("unix socket") == "unix socket"


class Site:
    """The middleware with an app that records the visitor; requests are sent with `get`."""

    def __init__(self, **limits):
        self.signer = Signer()
        self.app = IdentifyVisitors(self.answer, Limits(**limits), self.signer)

    async def answer(self, scope, receive, send):
        self.visitor, self.headers = visitor_of(scope), dict(scope["headers"])
        assert current.get() == self.visitor
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def get(self, path="/gradio_api/info", address="198.51.100.1", scheme="http", **headers):
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "path": path, "headers": pairs, "client": (address, 1), "scheme": scheme}
        answers = []

        async def send(message):
            answers.append(message)

        asyncio.run(self.app(scope, None, send))
        self.cookie = next((value.decode() for name, value in answers[0]["headers"] if name == b"set-cookie"), None)
        return self.visitor


def test_opened_page_gets_a_cookie_for_the_paths_of_gradio_only():
    site = Site()
    plain = site.get("/")
    assert plain.name == plain.network and "Path=/gradio_api;" in site.cookie and "HttpOnly; SameSite=Lax" in site.cookie
    with_cookie = site.get(cookie=f'of a={{"b": 1}}; {site.cookie.split(";")[0]}; c=@')  # beside cookies of the domain
    assert with_cookie.network == plain.network != with_cookie.name and site.cookie is None
    site.get("/", scheme="https")
    assert "SameSite=None; Secure; Partitioned" in site.cookie


@pytest.mark.parametrize("value", ["x", "x.y", "", ".", "1" * 9999, "\xff", '"', "a.b.c"])
def test_forged_cookie_is_ignored(value):
    site = Site()
    assert site.get(cookie=f"{COOKIE}={value}") == site.get()


def test_cookie_of_another_server_is_ignored():
    other, site = Site(), Site()
    other.get("/")
    assert site.get(cookie=other.cookie.split(";")[0]).name == site.get().name


def test_cookies_of_a_network_are_limited():
    site = Site(new_visitors=Rate(3, 0.0001))
    issued = []
    for _ in range(5):
        site.get("/config")
        issued.append(site.cookie is not None)
    assert issued == [True] * 3 + [False] * 2
    site.get("/config", address="198.51.100.2")
    assert site.cookie


def test_tool_is_limited_like_the_visitor_who_called_it():
    site = Site()
    caller = site.get("/gradio_api/mcp/")
    forwarded = {HEADER: site.headers[HEADER.encode()].decode(), SERVER_HEADER: site.signer.sign("server")}
    inner = site.get("/gradio_api/call/x", address="127.0.0.1", **forwarded)
    assert (inner.name, inner.network, inner.is_server) == (caller.name, caller.network, True)
    forged = forwarded | {SERVER_HEADER: Signer().sign("server")}
    assert site.get("/gradio_api/call/x", address="127.0.0.1", **forged) == site.get(address="127.0.0.1")
    assert HEADER.encode() not in site.headers
