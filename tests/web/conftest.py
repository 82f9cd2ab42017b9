"""A running web process in this test's loop, and browsers that keep cookies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from sqlalchemy.orm import Session
from yarl import URL

from server.app import build
from server.config import Config
from server.db.engine import Database
from server.people.models import Account
from server.people.passwords import hash_password
from server.web.rates import Rate, Rates
from server.web.site import now
from tests.cast import Cast, bring_in

PASSWORD = "mật khẩu dài 123"


class Browser:
    """One device: cookies, forms with their token, no redirects followed."""

    def __init__(self, base: URL) -> None:
        self.base = base
        self.session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Accept": "text/html"}
        )

    async def get(self, path: str, **options: Any) -> tuple[aiohttp.ClientResponse, str]:
        """The answer and its text."""
        return await self._ask("GET", path, **options)

    async def post(
        self,
        path: str,
        form: dict[str, str] | None = None,
        *,
        page: str | None = None,
        **options: Any,
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Open ``page`` (``path`` itself), and send its form with ``form`` filled in."""
        _, text = await self.get(page or path)
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
        assert token, text
        return await self._ask("POST", path, data={"csrf": token[1], **(form or {})}, **options)

    async def raw(
        self, method: str, path: str, **options: Any
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Exactly this request."""
        return await self._ask(method, path, **options)

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        options.setdefault("allow_redirects", False)
        async with self.session.request(method, self.base.join(URL(path)), **options) as answer:
            return answer, (await answer.read()).decode(errors="replace")

    def cookie(self, name: str) -> str | None:
        """The value that this browser holds."""
        held = self.session.cookie_jar.filter_cookies(self.base).get(name)
        return held.value if held else None

    def take_seat(self, cast: Cast, seat: str) -> str:
        """Put a seat of the cast into this browser; gives its address."""
        self.session.cookie_jar.update_cookies({f"seat_{seat}": cast.secrets[seat]}, self.base)
        return f"/s/{seat}/"


@dataclass
class House:
    """What a test talks to."""

    server: TestServer
    config: Config
    database: Database
    cast: Cast
    browsers: list[Browser]

    def browser(self) -> Browser:
        """A new device."""
        made = Browser(self.server.make_url("/"))
        self.browsers.append(made)
        return made


def a_config(folder: Path, **changes: Any) -> Config:
    """A configuration for a test."""
    made = Config(
        data_dir=folder,
        database_url=f"sqlite:///{folder / 'web.db'}",
        secret_key="k" * 40,
        recordings_dir=folder / "recordings",
    )
    return made.with_(**changes)


def _account(session: Session, username: str, *, name: str, **flags: bool) -> None:
    session.add(
        Account(
            username=username,
            name=name,
            password_hash=hash_password(PASSWORD),
            created_at=now(),
            **flags,
        )
    )


@pytest.fixture
def controls() -> list[str]:
    """The media workers' control sockets: none, where a test does not override it."""
    return []


@pytest.fixture
def rates() -> Rates:
    """How often forms may come: little, so that a test meets the limit soon."""
    return Rates(device=Rate(12, 0.01), address=Rate(1000, 100))


@pytest.fixture
async def house(
    tmp_path: Path, database_url: str, controls: list[str], rates: Rates, cheap_passwords: None
) -> AsyncIterator[House]:
    """The web process, with the media workers of ``controls``."""
    config = a_config(tmp_path, database_url=database_url)
    database = Database(config.database_url)
    with database.write_session() as session:
        cast = bring_in(session)
        _account(session, "thu", name="Lê Thu", is_organiser=True)
        _account(session, "moi", name="Người mới", must_change=True)
        session.commit()
    server = TestServer(build(config, controls, rates=rates))
    await server.start_server()
    house = House(server, config, database, cast, [])
    yield house
    for browser in house.browsers:
        await browser.session.close()
    await server.close()
    database.close()
