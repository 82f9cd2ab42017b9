"""The client behind a reverse proxy: ``X-Forwarded-For`` and ``X-Forwarded-Proto``.

They are read only from peers in TRUSTED_PROXIES, since anybody can send them: from the right (the
nearest proxy wrote last) to the first address that is no trusted proxy (MDN, X-Forwarded-For,
"Selecting an IP address"). Nothing but the rate by address, the scheme of links and the ``Secure``
of cookies follows from them; who somebody is never does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def client_of(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client's address: ``peer``, or what trusted proxies say in ``forwarded`` (left to right).

    An entry that is no address ends the search: the last trusted proxy is then the client.
    """
    client = peer
    for entry in (*reversed(forwarded), None):
        address = address_of(client)
        if address is None or not any(address in network for network in trusted):
            return client
        if entry is None or address_of(entry) is None:
            return client
        client = entry
    return client


def address_of(text: str) -> Address | None:
    """An address as proxies write it: bare, ``[v6]``, with a port; mapped IPv4 as IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def forwarded(proxies: Sequence[str]) -> Middleware:
    """The middleware, outermost: ``request.remote`` and ``request.scheme`` become the client's."""
    trusted = [ipaddress.ip_network(text) for text in proxies]

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = address_of(request.remote or "")
        if peer is None or not any(peer in network for network in trusted):
            return await handler(request)
        hops = _list(request, "X-Forwarded-For")
        client = client_of(str(peer), hops, trusted)
        schemes = _list(request, "X-Forwarded-Proto")
        scheme = schemes[-1].lower() if schemes else request.scheme
        return await handler(
            request.clone(
                remote=str(address_of(client) or peer),
                scheme=scheme if scheme in ("http", "https") else request.scheme,
            )
        )

    return read


def _list(request: web.Request, name: str) -> list[str]:
    joined = ",".join(request.headers.getall(name, []))
    return [part.strip() for part in joined.split(",") if part.strip()]
