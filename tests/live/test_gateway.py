"""One command over the wire and back, and what its audience hears, over real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest
from socketio.exceptions import ConnectionError as Refused

from server.errors import Unavailable
from server.live import fanout
from server.live.gateway import HEAD_EVERY
from server.live.missed import MOST_MISSED
from server.people.models import Person
from server.permissions import Actor
from server.protocol import COMMANDS, INTERNAL, RevokeSeat
from server.snapshot import build
from tests.cast import START
from tests.live.conftest import PATIENCE_S, Venue

ASK = {"text": "Khi nào có vắc-xin?"}


async def test_a_question_reaches_its_audience_and_nobody_else(venue: Venue) -> None:
    cast = venue.cast
    asker, moderator, operator, display, other = [
        await venue.open(actor)
        for actor in (
            cast.trainee,
            cast.moderator,
            cast.operator,
            cast.display,
            cast.other_trainee,
        )
    ]
    for page in (asker, moderator, operator, display, other):
        await page.until(lambda p: p.snapshots == 1)
    answer = await asker.send("question.ask", ASK, "k1")
    assert answer["ok"] is True
    number = str(answer["result"]["question"])
    assert asker.state["questions"][number]["text"] == ASK["text"]  # before its acknowledgement
    await moderator.until(lambda p: "asker" in p.state["questions"].get(number, {}))
    await operator.until(lambda p: number in p.state["questions"])
    assert "asker" not in asker.state["questions"][number]
    assert "asker" not in operator.state["questions"][number]

    approved = await moderator.send("question.approve", {"question": int(number)}, "k1")
    shown = await moderator.send("question.put_on_stage", {"question": int(number)}, "k2")
    assert approved["ok"] and shown["ok"]
    for page in (display, other, asker):
        await page.until(lambda p: p.state["questions"].get(number, {}).get("state") == "on_stage")
    assert [event["type"] for event in other.events] == ["question.put_on_stage"]


async def test_every_role_begins_with_its_snapshot(venue: Venue) -> None:
    for actor in venue.cast.everyone():
        page = await venue.open(actor)
        await page.until(lambda p: p.snapshots == 1 and "clock" in p.live)
        assert page.state == venue.database.read_now(build, actor, START)
        await venue.close(page)


WRONG: tuple[tuple[str, Any], ...] = (
    ("no.such", {}),
    ("question.ask", {}),
    ("question.ask", {"text": "x", "person": 5}),
    ("question.ask", {"text": 7}),
    ("question.ask", {"text": ""}),
    ("question.ask", {"text": "x" * 2001}),
    ("question.ask", {"text": "a\x00b"}),
    ("question.ask", None),
    ("question.ask", "text"),
    ("question.ask", []),
    ("site.mute", {"site": True, "muted": True}),
    ("site.mute", {"site": 1.5, "muted": True}),
    ("site.mute", {"site": 10**40, "muted": True}),
    ("conference.update", {"title": "x", "starts_at": "2023-06-03T08:00", "ends_at": "x"}),
    *((kind.type, {}) for kind in sorted(INTERNAL, key=lambda command: command.type)),
)


async def test_wrong_input_is_invalid_and_changes_nothing(venue: Venue) -> None:
    page = await venue.open(venue.cast.trainee)
    for type_, payload in WRONG:
        answer = await page.send(type_, payload, "k")
        assert (answer["ok"], answer["error"]) == (False, "invalid"), (type_, payload)
        assert answer["message"]
    assert (await page.send("question.ask", ASK, "k"))["ok"], "none of them spent the key"


async def test_a_key_must_be_a_short_text(venue: Venue) -> None:
    page = await venue.open(venue.cast.trainee)
    for key in ("", "x" * 81, None, 5, {}, "a\x00"):
        assert (await page.send("question.ask", ASK, key))["error"] == "invalid", key


async def test_a_command_has_two_arguments(venue: Venue) -> None:
    page = await venue.open(venue.cast.trainee)
    for arguments in ((), ({},), ({}, "k", "more")):
        answer = await page.client.call("question.ask", arguments or None)
        assert answer["error"] == "invalid", arguments


async def test_no_role_can_send_more_than_it_may(venue: Venue) -> None:
    display = await venue.open(venue.cast.display)
    answer = await display.send("stage.show", {"source": None}, "k")
    assert answer["error"] == "forbidden"
    english = await venue.open(venue.cast.display, lang="en")
    refused = await english.send("stage.show", {"source": None}, "k2")
    assert refused["error"] == "forbidden"
    assert len(COMMANDS) > len(INTERNAL)


async def test_a_retry_over_another_connection_is_not_done_twice(venue: Venue) -> None:
    page = await venue.open(venue.cast.trainee)
    first = await page.send("question.ask", ASK, "k")
    await venue.close(page)
    again = await venue.open(venue.cast.trainee)
    assert await again.send("question.ask", ASK, "k") == first
    conflict = await again.send("question.ask", {"text": "khác"}, "k")
    assert conflict["error"] == "conflict"


async def refusal(venue: Venue, actor: Actor, **options: Any) -> str:
    with pytest.raises(Refused) as refused:
        await venue.open(actor, **options)
    return str(refused.value)


async def test_strangers_are_refused(venue: Venue) -> None:
    cast = venue.cast
    assert await refusal(venue, cast.trainee, secret="wrong")
    assert await refusal(venue, cast.trainee, secret=cast.secrets[cast.moderator.holder])
    unknown = dataclasses.replace(cast.trainee, holder="nobody")
    assert await refusal(venue, unknown, secret="x")
    odd = dataclasses.replace(cast.trainee, holder="a b;c")
    assert await refusal(venue, odd, secret="x")
    evil = {"Origin": "https://evil.example"}
    assert await refusal(venue, cast.trainee, headers=evil)
    assert await refusal(venue, cast.trainee, headers={"Origin": "null"})
    own = await venue.open(cast.trainee, headers={"Origin": venue.url})
    await own.until(lambda p: p.snapshots == 1)
    assert len(venue.gateway.connections) == 1


async def test_events_named_like_the_librarys_own_are_harmless(venue: Venue) -> None:
    page = await venue.open(venue.cast.trainee)
    await page.until(lambda p: p.snapshots == 1)
    await page.client.emit("disconnect", ("x", "y"))
    await page.client.emit("connect", ({"aiohttp.request": 1}, {"seat": "x"}))
    assert (await page.send("question.ask", ASK, "k"))["ok"]


async def test_who_comes_back_gets_what_was_missed(venue: Venue) -> None:
    page = await venue.open(venue.cast.trainee)
    await page.until(lambda p: p.snapshots == 1)
    state, seq = page.state, page.seq
    await venue.close(page)
    moderator = await venue.open(venue.cast.moderator)
    for n, muted in enumerate([True, False, True]):
        await moderator.send("site.mute", {"site": venue.cast.hue, "muted": muted}, f"k{n}")
    again = await venue.open(venue.cast.trainee, since=seq)
    again.state, again.seq = state, seq
    await again.until(lambda p: len(p.events) == 3)
    assert again.snapshots == 0
    assert again.state == venue.database.read_now(build, venue.cast.trainee, START)


async def test_a_place_that_is_ahead_or_far_behind_gets_a_snapshot(venue: Venue) -> None:
    ahead = await venue.open(venue.cast.trainee, since=10**6)
    await ahead.until(lambda p: p.snapshots == 1)
    operator = venue.cast.operator
    asks = [COMMANDS["question.ask"](text=f"Câu {n}") for n in range(MOST_MISSED // 2 + 1)]
    await asyncio.gather(
        *(venue.inbox.submit(operator, ask, f"k{n}") for n, ask in enumerate(asks))
    )
    behind = await venue.open(venue.cast.moderator, since=0)
    await behind.until(lambda p: p.snapshots == 1 or len(p.events) > 0)
    head = venue.gateway.connections.of_seats([venue.cast.moderator.holder])[0].passed
    assert behind.snapshots == (1 if head > MOST_MISSED else 0)


async def test_who_hears_little_still_moves_on(venue: Venue) -> None:
    display = await venue.open(venue.cast.display)
    await display.until(lambda p: p.snapshots == 1)
    asker = await venue.open(venue.cast.trainee)
    await asker.send("question.ask", ASK, "k")
    for _ in range(HEAD_EVERY):
        await venue.gateway.tick()
    await display.until(lambda p: p.seq >= 1)
    assert display.events == []


async def test_a_revoked_seat_is_cut_at_once(venue: Venue) -> None:
    trainee = await venue.open(venue.cast.trainee)
    await trainee.until(lambda p: p.snapshots == 1)
    organiser = await venue.open(venue.cast.organiser)
    await organiser.send("seat.revoke", {"seat": venue.cast.trainee.holder}, "k")
    await trainee.until(lambda p: p.closed)
    assert await refusal(venue, venue.cast.trainee)


async def test_a_revoked_seat_hears_nothing_of_what_is_written_together_with_it(
    venue: Venue,
) -> None:
    trainee, organiser = [
        await venue.open(actor) for actor in (venue.cast.trainee, venue.cast.organiser)
    ]
    await trainee.until(lambda p: p.snapshots == 1)
    busy = asyncio.create_task(venue.inbox.transact(lambda _session: time.sleep(0.3)))
    await asyncio.sleep(0.1)
    revoked = organiser.send("seat.revoke", {"seat": venue.cast.trainee.holder}, "k1")
    muted = organiser.send("site.mute", {"site": venue.cast.hue, "muted": True}, "k2")
    assert all(answer["ok"] for answer in await asyncio.gather(revoked, muted))
    await busy
    await trainee.until(lambda p: p.closed)
    assert "site.muted" not in {event["type"] for event in trainee.events}


async def test_events_that_could_not_be_sent_are_made_up_for(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    display = await venue.open(venue.cast.display)
    await display.until(lambda p: p.snapshots == 1)

    def fault(*_: Any) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(fanout, "groups", fault)
    organiser = await venue.open(venue.cast.organiser)
    await organiser.send("site.mute", {"site": venue.cast.hue, "muted": True}, "k")
    await display.until(lambda p: p.snapshots == 2)
    assert display.state["sites"][str(venue.cast.hue)]["muted"]


async def test_a_revoked_seat_is_cut_though_the_database_goes_away_behind_it(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainee = await venue.open(venue.cast.trainee)
    await trainee.until(lambda p: p.snapshots == 1)

    async def away(*_: Any) -> None:
        monkeypatch.undo()
        raise Unavailable()

    monkeypatch.setattr(venue.database, "read", away)
    seat = venue.cast.trainee.holder
    await venue.inbox.submit(venue.cast.organiser, RevokeSeat(seat=seat), "k")
    await trainee.until(lambda p: p.closed)


async def test_a_seat_that_is_revoked_while_it_connects_stays_outside(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat, read = venue.cast.trainee.holder, venue.gateway._seated

    async def revoked_behind_the_read(asked: tuple[str, str]) -> Actor:
        actor = await read(asked)
        monkeypatch.undo()
        await venue.inbox.submit(venue.cast.organiser, RevokeSeat(seat=seat), "k")
        return actor

    monkeypatch.setattr(venue.gateway, "_seated", revoked_behind_the_read)
    assert await refusal(venue, venue.cast.trainee)
    assert not venue.gateway.connections.of_seats([seat])


async def test_a_reload_brings_a_fresh_snapshot(venue: Venue) -> None:
    operator = await venue.open(venue.cast.operator)
    await operator.until(lambda p: p.snapshots == 1)
    organiser = await venue.open(venue.cast.organiser)
    rows = [{"name": "Lê Văn Mới", "site": "da-nang", "code": "MOI1"}]
    assert (await organiser.send("roster.import", {"rows": rows}, "k"))["ok"]
    await operator.until(lambda p: p.snapshots == 2)
    assert "Lê Văn Mới" in {entry["name"] for entry in operator.state["roster"].values()}


ROSTER = [{"name": "Lê Văn Mới", "site": "da-nang", "code": "MOI1"}]


async def test_who_is_cut_before_the_fresh_snapshot_came_gets_it_on_return(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, organiser = [
        await venue.open(actor) for actor in (venue.cast.operator, venue.cast.organiser)
    ]
    for page in (operator, organiser):
        await page.until(lambda p: p.snapshots == 1)

    async def away(*_: Any) -> None:
        raise Unavailable()

    monkeypatch.setattr(venue.gateway._delivery, "_find", away)
    assert (await organiser.send("roster.import", {"rows": ROSTER}, "k"))["ok"]
    await operator.until(lambda p: p.closed)
    monkeypatch.undo()
    again = await venue.open(venue.cast.operator, since=operator.seq)
    await again.until(lambda p: "clock" in p.live)
    assert again.snapshots == 1
    assert "Lê Văn Mới" in {entry["name"] for entry in again.state["roster"].values()}


async def test_who_was_moved_while_away_begins_anew(venue: Venue) -> None:
    cast = venue.cast
    with venue.database.write_session() as session:
        session.get_one(Person, cast.trainee.person_id).code = "LAN1"
        session.commit()
    trainee = await venue.open(cast.trainee)
    await trainee.until(lambda p: p.snapshots == 1)
    await venue.close(trainee)
    organiser = await venue.open(cast.organiser)
    rows = [{"name": cast.trainee.name, "site": "hue", "code": "LAN1"}]
    assert (await organiser.send("roster.import", {"rows": rows}, "k"))["ok"]
    again = await venue.open(cast.trainee, since=trainee.seq)
    await again.until(lambda p: "clock" in p.live)
    assert again.snapshots == 1
    assert again.state["me"]["site"] == cast.hue


async def test_nothing_is_lost_or_doubled_for_who_comes_in_the_middle(venue: Venue) -> None:
    moderator = await venue.open(venue.cast.moderator)

    async def storm() -> None:
        for n in range(60):
            await moderator.send("site.mute", {"site": venue.cast.hue, "muted": n % 2 == 0}, f"{n}")

    task = asyncio.create_task(storm())
    pages = []
    for _ in range(12):
        pages.append(await venue.open(venue.cast.other_trainee))
        await asyncio.sleep(0.01)
    await task
    for page in pages:
        await page.until(lambda p: p.seq == 60)
        heard = [event["seq"] for event in page.events]
        assert heard == list(range(61 - len(heard), 61))
        assert page.state == venue.database.read_now(build, venue.cast.other_trainee, START)


async def test_presence_counts_seats_by_room(venue: Venue) -> None:
    moderator = await venue.open(venue.cast.moderator)
    await venue.open(venue.cast.operator)
    await venue.open(venue.cast.operator)  # the same seat in two tabs counts once
    trainee = await venue.open(venue.cast.trainee)
    await trainee.until(lambda p: p.snapshots == 1)
    await venue.gateway.tick()
    await moderator.until(lambda p: "presence" in p.live)
    assert moderator.live["presence"] == {
        str(venue.cast.da_nang): {
            "operator": 1,
            "display": 0,
            "trainee": 1,
            "sound": None,
        }
    }
    assert "presence" not in trainee.live


async def test_who_comes_when_everybody_has_left_is_not_told_of_them(venue: Venue) -> None:
    moderator, operator = [
        await venue.open(actor) for actor in (venue.cast.moderator, venue.cast.operator)
    ]
    await venue.gateway.tick()
    await moderator.until(lambda p: bool(p.live.get("presence")))
    for page in (moderator, operator):
        await venue.close(page)
    await venue.gateway.tick()
    again = await venue.open(venue.cast.moderator)
    await again.until(lambda p: "clock" in p.live)
    assert not again.live.get("presence")


async def test_one_page_of_a_room_plays_its_sound(venue: Venue) -> None:
    """The first that listens, after it the next; displays before operators; two tabs are two."""
    cast = venue.cast
    moderator = await venue.open(cast.moderator)

    async def assert_heard(page: str | None) -> None:
        site = str(cast.da_nang)
        async with asyncio.timeout(PATIENCE_S):
            while moderator.live.get("presence", {}).get(site, {}).get("sound") != page:
                await venue.gateway.tick()  # as once a second
                await asyncio.sleep(0.02)

    checking = await venue.open(cast.operator, page="operator-1")
    await venue.open(cast.operator, page="operator-2", listens=True)
    await assert_heard("operator-2")
    await checking.send("media.listen", {"listens": True}, "in-the-room")
    await venue.gateway.tick()
    await assert_heard("operator-2")
    first = await venue.open(cast.display, page="display-1", listens=True)
    await assert_heard("display-1")
    second = await venue.open(cast.display, page="display-2", listens=True)
    await venue.close(first)  # its line breaks and it is back before anybody notices
    first = await venue.open(cast.display, page="display-1", listens=True)
    await assert_heard("display-1")
    await first.send("media.listen", {"listens": True, "here": True}, "no-here")
    answer = await second.send("media.listen", {"listens": True, "here": True}, "speakers-are-here")
    assert answer == {"ok": True, "result": {}}
    await assert_heard("display-2")
    await second.send("media.listen", {"listens": True}, "does-anybody-hear-me")
    await venue.gateway.tick()
    await moderator.send("media.listen", {"listens": False}, "told-behind-that")
    await assert_heard("display-2")
    await checking.send("media.listen", {"listens": True, "here": True}, "not-before-a-display")
    await venue.close(second)
    await assert_heard("display-1")
    await venue.close(first)
    await assert_heard("operator-1")
    await checking.send("media.listen", {"listens": False}, "devices-again")
    await assert_heard("operator-2")


async def test_live_facts_go_where_they_belong(venue: Venue) -> None:
    cast = venue.cast
    moderator, operator, trainee = [
        await venue.open(actor) for actor in (cast.moderator, cast.operator, cast.trainee)
    ]
    for page in (moderator, operator, trainee):
        await page.until(lambda p: "clock" in p.live)
    venue.tell(cast.conference_id, "lines", {"site:hue": {}, "site:da-nang": {}})
    venue.tell(cast.conference_id, "lines", {"site:da-nang": {}}, site=cast.da_nang)
    venue.tell(
        cast.conference_id, "slots", {"session": "s", "slots": {}}, holder=cast.moderator.holder
    )
    venue.tell(cast.conference_id, "choices", {"run": 1, "item": 1, "votes": [1, 0]})
    venue.tell(cast.conference_id, "recording", {"state": "recording", "duration_ms": 1})
    venue.tell(cast.conference_id, "test", {"behind": "them"})
    for page in (moderator, operator, trainee):
        await page.until(lambda p: "test" in p.live)
    assert "recording" in moderator.live and "recording" in operator.live
    assert "recording" not in trainee.live, "a phone shows no such lamp"
    assert set(moderator.live["lines"]) == {"site:hue", "site:da-nang"}
    assert set(operator.live["lines"]) == {"site:da-nang"}
    assert "lines" not in trainee.live
    assert "choices" in moderator.live, "whoever may know the key"
    assert "choices" not in operator.live and "choices" not in trainee.live
    assert "slots" in moderator.live and "slots" not in operator.live
