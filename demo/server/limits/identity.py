"""Who sends a request: a visitor that the server has numbered, within the network of an address.

The page sets a cookie with a random, signed number each time it is opened. It is valid for the paths of gradio only, so that
answers of raters, whose paths begin with /study, are sent without a cookie. A client without the cookie is identified by its
address. Neither is stored: both are kept in memory as keyed hashes, with a key that the process chooses at its start.

The address is that of the connection or, behind proxies, an entry of X-Forwarded-For counted from the right: each proxy appends
the address it was called from, and everything to the left of the entries of trusted proxies is chosen by the client.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.server.limits.buckets import TokenBuckets
from demo.server.limits.settings import Limits
from demo.server.paths import path_of

COOKIE = "gpen_visitor"
HEADER = "x-gpen-visitor"  # of requests that the server sends to itself for MCP tools: the visitor who called the tool
SERVER_HEADER = "x-gpen-server"  # of all requests that the server sends to itself
SCOPE = "gpen.visitor"  # key of the visitor in the scope of a request
API = "/gradio_api"
_ISSUED_AT = ("/", "/config")  # a browser opens the first, API clients the second
_INTERNAL = [
    ipaddress.ip_network(net)
    for net in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
]


@dataclass(frozen=True)
class Visitor:
    """Sender of a request.

    Attributes:
        name: keyed hash of the number in the cookie, or `network` without a cookie.
        network: keyed hash of the address.
        is_server: whether the server itself sends the request; its limits are those of the visitor who caused it.
    """

    name: str
    network: str
    is_server: bool = False


UNKNOWN = Visitor("", "")  # outside a request, such as in a test
current: ContextVar[Visitor] = ContextVar("current", default=UNKNOWN)  # the visitor of the request that is being answered


class Signer:
    """Signs short texts with a key that exists as long as the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def digest(self, text: str) -> str:
        """Return a keyed hash, 32 hexadecimal digits."""
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:32]

    def sign(self, text: str) -> str:
        """Return the text with its signature."""
        return f"{text}.{self.digest(text)}"

    def read(self, signed: str | None) -> str | None:
        """Return the text if its signature is valid, else None."""
        text, _, signature = (signed or "").rpartition(".")
        return text if text and hmac.compare_digest(signature.encode(), self.digest(text).encode()) else None


def client_address(peer: str, forwarded: str, trusted_proxies: int) -> str:
    """Return the address of the client.

    peer: address of the connection. forwarded: value of X-Forwarded-For, "" without it. trusted_proxies: number of proxies that
    append to it; with 0 it is ignored. Addresses of internal networks at its right end are further hops of the same
    infrastructure and are not counted, unless all are internal.
    """
    hops = [_address(entry) for entry in forwarded.split(",") if entry.strip()] if trusted_proxies else []
    outside = list(hops)
    while outside and _is_internal(outside[-1]):
        outside.pop()
    hops = outside or hops
    return hops[max(0, len(hops) - trusted_proxies)] if hops else peer


def address_of(scope: Scope, trusted_proxies: int) -> str:
    """Return the address of the client of a request; see `client_address`."""
    peer = (scope.get("client") or ("", 0))[0]
    return client_address(peer, ",".join(Headers(scope=scope).getlist("x-forwarded-for")), trusted_proxies)


def network(address: str) -> str:
    """Return the address, or the first 64 bits of an IPv6 address, which one client has for itself."""
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return address


def visitor_of(scope: Scope) -> Visitor:
    """Return the visitor of a request that has passed `IdentifyVisitors`."""
    return scope.get(SCOPE, UNKNOWN)


class IdentifyVisitors:
    """Write the visitor of each request into its scope, and give the pages that are opened a cookie."""

    def __init__(self, app: ASGIApp, limits: Limits, signer: Signer):
        self._app, self._proxies, self._signer = app, limits.trusted_proxies, signer
        self._issued = TokenBuckets(limits.new_visitors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        visitor = self._visitor(scope)
        path = path_of(scope)
        own = [(HEADER.encode(), self._signer.sign(f"{visitor.name}/{visitor.network}").encode())]
        headers = [pair for pair in scope["headers"] if pair[0].lower() != HEADER.encode()]
        scope = {**scope, SCOPE: visitor, "headers": headers + (own if path.startswith(f"{API}/mcp") else [])}
        issue = path in _ISSUED_AT and not visitor.is_server and not self._issued.take(visitor.network)
        token = current.set(visitor)
        try:
            await self._app(scope, receive, self._with_cookie(scope, send) if issue else send)
        finally:
            current.reset(token)

    def _visitor(self, scope: Scope) -> Visitor:
        headers = Headers(scope=scope)
        if self._signer.read(headers.get(SERVER_HEADER)) is not None:
            name, _, of = (self._signer.read(headers.get(HEADER)) or "server/server").partition("/")
            return Visitor(name, of, is_server=True)
        of = self._signer.digest(network(address_of(scope, self._proxies)))
        number = self._signer.read(cookie_parser(headers.get("cookie", "")).get(COOKIE))
        return Visitor(of if number is None else self._signer.digest(number), of)

    def _with_cookie(self, scope: Scope, send: Send) -> Callable:
        headers = Headers(scope=scope)
        secure = "https" in (headers.get("x-forwarded-proto", "").split(",")[0].strip(), scope.get("scheme"))
        # a Space is embedded in a page of another domain, which needs the attributes of the first line
        policy = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"
        path = scope.get("root_path", "").rstrip("/") + API
        cookie = f"{COOKIE}={self._signer.sign(secrets.token_hex(16))}; Path={path}; HttpOnly; {policy}"

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message.setdefault("headers", [])).append("set-cookie", cookie)
            await send(message)

        return sent


def _address(entry: str) -> str:
    """Return an entry of X-Forwarded-For without a port: 192.0.2.1:80 or [2001:db8::1]:80."""
    entry = entry.strip()
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_internal(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in net for net in _INTERNAL)
