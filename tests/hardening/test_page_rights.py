"""Every page and form × every seat, account and token, own and of another conference, revoked."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from server.db.base import Base
from server.people.accounts import find_account
from server.people.links import create_link
from server.people.models import Account
from server.people.seats import revoke
from server.permissions import Role
from server.recordings.models import Recording
from server.web.rates import Rate, Rates
from server.web.site import now
from tests.cast import START, bring_in
from tests.hardening.rights import RIGHTS
from tests.web.conftest import PASSWORD, Browser, House

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])

HOUR = timedelta(hours=1)
NOW = START + HOUR


@pytest.fixture
def rates() -> Rates:
    """As many forms as the matrix has."""
    return Rates(device=Rate(1000, 100), address=Rate(1000, 100))


OPEN_PAGES = {
    "/",
    "/sign-in",
    "/join",
    "/join/{token}",
    "/c/{join_code}",
    "/healthz",
    "/metrics",
    "/favicon.ico",
    "/s/{seat}",
}
"""Pages for everybody: entrances, health, figures (for near networks), an address without its
slash."""
ACCOUNT_PAGES = {"/password", "/conferences", "/conferences/new", "/admin"}
"""Pages of a signed-in account; all but the first of one that organises, the last of one that
keeps the server."""
SEAT_PAGES = {"/s/{seat}/", "/s/{seat}/qr.svg"}
REPLAY_PAGES = {"/replay/{recording}", "/replay/{recording}/journal.json"}
ELSEWHERE = ("/static/", "/i18n/", "/socket.io/", "/replay/{recording}/{file")
"""Files, the socket (its own tests), and a recording's files (tests of the replay)."""


def _pages(house: House) -> set[str]:
    """The address of every page that the application has."""
    found = set()
    for route in house.server.app.router.routes():
        if route.method == "GET" and route.resource is not None:
            found.add(re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.resource.canonical))
    return {path for path in found if not path.startswith(ELSEWHERE)}


async def _status(browser: Browser, path: str) -> int:
    return (await browser.get(path))[0].status


async def _account(house: House, role: str, slug: str) -> Browser:
    """A browser in which the cast's account of a role is signed in."""
    with house.database.write_session() as session:
        account = session.scalars(select(Account).where(Account.username == f"{role}-{slug}")).one()
        account.password_hash = find_account(session, "thu").password_hash  # type: ignore[union-attr]
        account.must_change = False
        session.commit()
    browser = house.browser()
    form = {"username": f"{role}-{slug}", "password": PASSWORD}
    assert (await browser.post("/sign-in", form))[0].status == 303
    return browser


async def test_every_page_of_the_organiser(house: House) -> None:
    with house.database.write_session() as session:
        bring_in(session, "noi-khac")
        session.commit()
    pages = {path for path in _pages(house) if path.startswith("/conferences/{slug}")}
    assert len(pages) >= 15
    staff = ("organiser", "moderator", "speaker", "advisor", "observer")
    browsers = {role: await _account(house, role, "tap-huan") for role in staff}
    strangers = [await _account(house, "organiser", "noi-khac"), house.browser()]
    for path in sorted(pages):
        address = path.replace("{slug}", "tap-huan").replace("{upload}", "khong-co")
        owner = await _status(browsers["organiser"], address)
        assert owner == (404 if "{upload}" in path else 200), address
        for role in staff[1:]:
            reads = "/reports" in path and RIGHTS["see_reports"][Role(role)] == "C"
            wanted = 200 if reads else 404
            assert await _status(browsers[role], address) == wanted, (role, address)
        assert await _status(strangers[0], address) == 404, address
        assert await _status(strangers[1], address) == 303, address


async def test_reports_by_seat(house: House) -> None:
    """A desk opened by a link has no account: its seat opens the reports, its revocation shuts them."""
    with house.database.write_session() as session:
        stranger = bring_in(session, "noi-khac")
        session.commit()
    house.cast.secrets.update(stranger.secrets)
    pages = [path for path in _pages(house) if path.startswith("/conferences/{slug}/reports")]
    assert len(pages) >= 6
    for actor in house.cast.everyone():
        browser = house.browser()
        browser.take_seat(house.cast, actor.holder)
        wanted = 200 if RIGHTS["see_reports"][actor.role] == "C" else 303
        for path in pages:
            for slug, status in (("tap-huan", wanted), ("noi-khac", 303)):
                assert await _status(browser, path.replace("{slug}", slug)) == status, actor.role
    moderator = house.browser()
    moderator.take_seat(house.cast, house.cast.moderator.holder)
    _, text = await moderator.get("/conferences/tap-huan/reports")
    assert "/conferences/tap-huan/roster" not in text, "nothing of the organiser's pages"
    with house.database.write_session() as session:
        revoke(session, NOW, id=house.cast.moderator.holder)
        session.commit()
    assert await _status(moderator, "/conferences/tap-huan/reports") == 303


async def test_every_form_of_the_organiser(house: House) -> None:
    posts = {
        re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.resource.canonical)
        for route in house.server.app.router.routes()
        if route.method == "POST" and route.resource is not None
    }
    forms = sorted(path for path in posts if path.startswith("/conferences/{slug}"))
    assert len(forms) >= 15
    browsers = [
        (await _account(house, "moderator", "tap-huan"), 404),
        (house.browser(), 303),
    ]
    with house.database.write_session() as session:
        bring_in(session, "noi-khac")
        session.commit()
    browsers.append((await _account(house, "organiser", "noi-khac"), 404))
    before = _rows(house)
    for path in forms:
        address = path.replace("{slug}", "tap-huan").replace("{upload}", "x").replace("{site}", "1")
        for browser, wanted in browsers:
            # An account without the role: the entrance alone knows of every appointment.
            status = (await browser.post(address, {"role": "observer"}, page="/"))[0].status
            assert status == (403 if path.endswith("/enter") and wanted == 404 else wanted), path
    assert _rows(house) == before, "nothing is written"


def _rows(house: House) -> dict[str, int]:
    """How many rows each table of a conference has."""
    kept = ("sign_ins", "wrong_tries")
    return house.database.read_now(
        lambda s: {
            name: s.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
            if name not in kept
        }
    )


async def test_every_page_of_a_seat(house: House) -> None:
    cast = house.cast
    with house.database.write_session() as session:
        stranger = bring_in(session, "noi-khac")
        session.add(Recording(id="rec-tap-huan", conference_id=cast.conference_id, zero_at=START))
        session.commit()
    house.cast.secrets.update(stranger.secrets)
    nobody = house.browser()
    outsider = house.browser()
    outsider.take_seat(cast, stranger.moderator.holder)
    seats = cast.everyone()
    for actor in seats:
        browser = house.browser()
        browser.take_seat(cast, actor.holder)
        for path in SEAT_PAGES:
            assert await _status(browser, path.replace("{seat}", actor.holder)) == 200
            for other in (*seats, stranger.moderator):
                if other.holder != actor.holder:
                    address = path.replace("{seat}", other.holder)
                    assert await _status(browser, address) == 401, (actor.role, other.role)
            assert await _status(nobody, path.replace("{seat}", actor.holder)) == 401
        for path in REPLAY_PAGES:
            address = path.replace("{recording}", "rec-tap-huan")
            assert await _status(browser, address) == 200, (actor.role, path)
            assert await _status(nobody, address) in (303, 401), path
            assert await _status(outsider, address) in (401, 404), path
        with house.database.write_session() as session:
            revoke(session, NOW, id=actor.holder)
            session.commit()
        for path in (*SEAT_PAGES, *REPLAY_PAGES):
            address = path.replace("{seat}", actor.holder).replace("{recording}", "rec-tap-huan")
            assert await _status(browser, address) in (303, 401), (actor.role, path)


async def test_every_page_is_known_to_these_tests(house: House) -> None:
    pages = {path for path in _pages(house) if not path.startswith("/conferences/{slug}")}
    assert pages == OPEN_PAGES | ACCOUNT_PAGES | SEAT_PAGES | REPLAY_PAGES
    nobody, moderator = house.browser(), await _account(house, "moderator", "tap-huan")
    for path in ACCOUNT_PAGES:
        assert await _status(nobody, path) == 303
        assert await _status(moderator, path) == (200 if path == "/password" else 403)


@pytest.mark.parametrize("role", [Role.ENCODER, Role.VIEWER])
async def test_tokens_of_encoders_and_viewers(house: House, role: Role) -> None:
    with house.database.write_session() as session:
        stranger = bring_in(session, "noi-khac")
        tokens = {}
        for conference, site in (
            (house.cast.conference_id, house.cast.da_nang),
            (stranger.conference_id, stranger.da_nang),
        ):
            place = site if role is Role.ENCODER else None
            ends_at = now() + HOUR
            link, token = create_link(session, role, conference, now(), ends_at, site_id=place)
            tokens[conference] = (link, token)
        session.commit()
        link, own = tokens[house.cast.conference_id]
        foreign = tokens[stranger.conference_id][1]

        async def asks(kind: str, token: str | None) -> int:
            headers = {"Content-Type": "application/sdp", "Accept": "*/*"}
            headers |= {"Authorization": f"Bearer {token}"} if token else {}
            address = f"/{kind}/tap-huan?source=stage"
            browser = house.browser()
            return (await browser.raw("POST", address, data="v=0", headers=headers))[0].status

        for kind, permission in (("whip", "publish"), ("whep", "receive")):
            may = RIGHTS[permission][role] != "-"
            assert await asks(kind, own) not in (() if not may else (401, 403)), (kind, role)
            assert may or await asks(kind, own) == 403, (kind, role)
            assert await asks(kind, foreign) == 403 and await asks(kind, None) == 401
        link.revoked_at = now()
        session.commit()
        assert [await asks(kind, own) for kind in ("whip", "whep")] == [401, 401]
