"""The client behind a proxy: who is believed, and what follows from it."""

from __future__ import annotations

import ipaddress

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.web.forwarded import client_of, forwarded
from server.web.rates import Rate, Rates
from tests.web.conftest import House

PROXIES = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "entries", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        # A client's own header stands to the left of what the proxy saw.
        ("127.0.0.1", ["192.0.2.66", "198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7", "10.1.2.3"], "198.51.100.7"),
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.7", "unknown"], "127.0.0.1"),
        ("127.0.0.1", ["10.0.0.1"], "10.0.0.1"),
        ("fd00::1", ["[2001:db8::1]:443"], "[2001:db8::1]:443"),
        ("::ffff:127.0.0.1", ["198.51.100.7:5000"], "198.51.100.7:5000"),
    ],
)
def test_the_first_address_from_the_right_that_is_no_proxy(
    peer: str, entries: list[str], client: str
) -> None:
    assert client_of(peer, entries, PROXIES) == client


async def _seen(proxies: list[str], headers: dict[str, str]) -> tuple[str | None, str]:
    async def echo(request: web.Request) -> web.Response:
        form = await request.post()
        return web.json_response([request.remote, request.scheme, form.get("a")])

    app = web.Application(middlewares=[forwarded(proxies)])
    app.router.add_post("/{name}", echo)
    async with TestClient(TestServer(app)) as client:
        answer = await client.post("/x", headers=headers, data={"a": "b"})
        remote, scheme, body = await answer.json()
        assert body == "b"
        return remote, scheme


async def test_headers_count_from_a_trusted_peer_alone() -> None:
    headers = {"X-Forwarded-For": "198.51.100.7:5000", "X-Forwarded-Proto": "https"}
    assert await _seen(["127.0.0.0/8"], headers) == ("198.51.100.7", "https")
    assert await _seen(["10.0.0.0/8"], headers) == ("127.0.0.1", "http")
    assert await _seen([], headers) == ("127.0.0.1", "http")
    odd = {"X-Forwarded-For": "<script>", "X-Forwarded-Proto": "gopher"}
    assert await _seen(["127.0.0.0/8"], odd) == ("127.0.0.1", "http")


class TestBehindAProxy:
    """The whole server, its proxy on this machine."""

    @pytest.fixture
    def rates(self) -> Rates:
        """So few forms an address that a test meets the limit; enough for a device."""
        return Rates(device=Rate(1000, 100), address=Rate(3, 0.01))

    async def test_addresses_have_their_own_rates_and_https_makes_cookies_secure(
        self, house: House
    ) -> None:
        async def sends(address: str) -> int:
            headers = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
            answer, _ = await house.browser().post(
                "/language", {"lang": "vi"}, page="/", headers=headers
            )
            if answer.status == 303:
                assert answer.cookies["lang"]["secure"]
                assert answer.headers["Strict-Transport-Security"]
            return answer.status

        assert [await sends("198.51.100.7") for _ in range(4)] == [303, 303, 303, 429]
        assert await sends("198.51.100.8") == 303
