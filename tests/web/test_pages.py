"""Seat pages by role, their boot data, the QR code; health and metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from server.conferences.models import Site
from server.people.seats import revoke
from server.web.site import SITE, now
from tests.web.conftest import House

ROLES = (
    "organiser moderator speaker advisor observer operator display trainee other_trainee".split()
)


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_has_a_page_with_the_state_it_goes_on_from(house: House, role: str) -> None:
    actor = getattr(house.cast, role)
    browser = house.browser()
    answer, text = await browser.get(browser.take_seat(house.cast, actor.holder))
    assert answer.status == 200 and "Tập huấn y tế cơ sở" in text
    found = re.search(r'<script type="application/json" id="boot">(.*?)</script>', text, re.DOTALL)
    assert found
    boot = json.loads(found[1])
    assert boot["seat"] == actor.holder and boot["role"] == actor.role.value
    assert boot["seq"] == 0 and boot["conference"] == "tap-huan" and boot["lang"] == "vi"
    assert boot["state"]["me"]["seat"] == actor.holder
    assert 'style="' not in text and "onclick" not in text
    if role == "trainee":
        assert "Trần Văn Minh" not in text


async def test_who_attends_online_can_watch_and_who_sits_in_a_room_looks_at_its_screen(
    house: House,
) -> None:
    browser = house.browser()
    page = browser.take_seat(house.cast, house.cast.trainee.holder)
    text = (await browser.get(page))[1]
    assert 'id="watch"' not in text and text.count("Đà Nẵng") >= 2  # at the head, and under "me"
    with house.database.write_session() as session:
        session.get_one(Site, house.cast.da_nang).kind = "online"
        session.commit()
    text = (await browser.get(page))[1]
    assert 'id="watch"' in text and 'id="watch-button"' in text


async def test_a_seat_is_worth_nothing_without_its_own_cookie(house: House) -> None:
    moderator, display = house.cast.moderator.holder, house.cast.display.holder
    browser = house.browser()
    answer, text = await browser.get(f"/s/{moderator}/")
    assert answer.status == 401 and "Tập huấn" not in text
    assert "Hãy vào lại bằng mã hội nghị hoặc tài khoản" in text and 'href="/"' in text
    secret = house.cast.secrets[display]
    browser.session.cookie_jar.update_cookies({f"seat_{moderator}": secret}, browser.base)
    assert (await browser.get(f"/s/{moderator}/"))[0].status == 401


async def test_a_revoked_seat_is_shut_out(house: House) -> None:
    browser = house.browser()
    page = browser.take_seat(house.cast, house.cast.operator.holder)
    assert (await browser.get(page))[0].status == 200
    with house.database.write_session() as session:
        revoke(session, now(), id=house.cast.operator.holder)
        session.commit()
    answer, text = await browser.get(page)
    assert answer.status == 401 and "thu hồi" in text


async def test_the_qr_code_is_a_picture_for_seats_alone(house: House) -> None:
    browser = house.browser()
    page = browser.take_seat(house.cast, house.cast.display.holder)
    answer, text = await browser.get(f"{page}qr.svg")
    assert (
        answer.content_type == "image/svg+xml" and text.startswith("<svg") and "style" not in text
    )
    assert (await house.browser().get(f"{page}qr.svg"))[0].status == 401


async def test_health_and_metrics(house: House) -> None:
    answer, text = await house.browser().get("/healthz")
    assert answer.status == 200 and json.loads(text)["status"] == "ok"
    answer, text = await house.browser().get("/metrics")
    assert "diemcau_http_requests_total" in text and "diemcau_media_workers_connected 0.0" in text


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_health_says_why_it_is_not_well(house: House) -> None:
    path = house.config.database_url.removeprefix("sqlite:///")
    Path(path).write_bytes(b"not a database" * 1000)
    for suffix in ("-wal", "-shm"):
        Path(path + suffix).unlink(missing_ok=True)
    house.server.app[SITE].database.engine.dispose()
    answer, text = await house.browser().get("/healthz")
    assert answer.status == 503
    assert json.loads(text)["reason"] == "the database does not answer"
