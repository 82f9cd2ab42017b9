"""Who asks for too much is told when to go on, whatever it asks for; nobody else is, nothing is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import ceil
from typing import Any

import pytest
from sqlalchemy import select

from server import inbox
from server.errors import SlowDown
from server.inbox import RETRY_AFTER_S
from server.live.commands import IN_FLIGHT_RETRY_S, MOST_IN_FLIGHT
from server.live.decode import Plain
from server.live.limits import BURST, COMMANDS_PER_S, WAITING_RETRY_S, Limits
from server.questions.models import Question
from tests.live.conftest import PATIENCE_S, Page, Venue

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])

FLOOD = 2 * BURST
BAD: list[Callable[[int], tuple[str, Any]]] = [
    lambda n: ("question.ask", {"text": n}),  # in the plainest form
    lambda n: ("question.ask", {"text": "Ừ", "more": n}),
    lambda n: ("no.such", {"n": n}),
    lambda n: ("media.listen", {"listens": n}),
]


async def until_done(page: Page, type_: str, payload: Any, key: str) -> dict[str, Any]:
    """As pages do: again by the same key, when it is told."""
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await page.send(type_, payload, key)).get("error") == "slow_down":
            await asyncio.sleep(answer["retry_after_s"])
    return answer


async def test_a_seat_that_sends_too_much_is_told_so_before_anything_is_decoded(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast, decoded = venue.cast, Counter[str]()
    plain = Plain.decode

    def counted(self: Plain, head: bytes) -> object:
        decoded["plain"] += 1
        return plain(self, head)

    monkeypatch.setattr(Plain, "decode", counted)
    pages = [await venue.open(cast.trainee) for _ in range(2)]  # two tabs are one seat
    beside = await venue.open(cast.other_trainee)  # of the same room, at the same address
    began_s = time.monotonic()
    answers = await asyncio.gather(
        *(pages[n % 2].send(*BAD[n // 2 % len(BAD)](n), f"k{n}") for n in range(FLOOD))
    )
    most = BURST + COMMANDS_PER_S * (time.monotonic() - began_s)
    told = Counter(answer["error"] for answer in answers)
    assert set(told) == {"invalid", "slow_down"} and BURST <= told["invalid"] <= most
    assert decoded["plain"] <= most
    for answer in answers:
        assert answer["error"] == "invalid" or 0 < answer["retry_after_s"] <= 1

    asked = await beside.send("question.ask", {"text": "Còn tôi?"}, "k")
    assert asked["ok"], "who shares its address is not slowed"
    assert (await until_done(pages[0], "question.ask", {"text": "Bây giờ?"}, "k"))["ok"]


@asynccontextmanager
async def writer_at_work(venue: Venue) -> AsyncIterator[None]:
    """Nothing is written meanwhile."""
    begun, go_on = threading.Event(), threading.Event()

    def works(_session: object) -> None:
        begun.set()
        go_on.wait(PATIENCE_S)

    working = asyncio.create_task(venue.inbox.transact(works))
    await asyncio.to_thread(begun.wait, PATIENCE_S)
    try:
        yield
    finally:
        go_on.set()
        await working


@pytest.mark.parametrize(
    ("where", "room", "retry_after_s"),
    [
        ("connection", MOST_IN_FLIGHT, IN_FLIGHT_RETRY_S),
        ("conference", 20, WAITING_RETRY_S),
        ("inbox", 20, RETRY_AFTER_S),
    ],
)
async def test_what_finds_no_room_is_done_when_it_comes_again(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, where: str, room: int, retry_after_s: float
) -> None:
    if where == "conference":
        venue.gateway._commands._limits = Limits(most_waiting=room)
    if where == "inbox":
        monkeypatch.setattr(inbox, "CAPACITY", room)
    full = inbox.REFUSED.labels("full")._value
    before, more = full.get(), 10
    page = await venue.open(venue.cast.operator)
    texts = {f"k{n}": f"Câu {n}" for n in range(room + more)}
    async with writer_at_work(venue):
        sent = {
            key: asyncio.create_task(page.send("question.ask", {"text": text}, key))
            for key, text in texts.items()
        }
        async with asyncio.timeout(PATIENCE_S):
            while sum(each.done() for each in sent.values()) < more:
                await asyncio.sleep(0.01)
        refused = {key: each.result() for key, each in sent.items() if each.done()}
        assert list(refused) == list(texts)[room:], "first come, first served"
        for answer in refused.values():
            assert answer["error"] == "slow_down" and answer["retry_after_s"] == retry_after_s
            assert answer["message"] == SlowDown.message % {"seconds": ceil(retry_after_s)}
        assert full.get() - before == (more if where == "inbox" else 0)
    numbers = {key: (await sent[key])["result"]["question"] for key in list(texts)[:room]}
    for key in refused:
        answer = await until_done(page, "question.ask", {"text": texts[key]}, key)
        numbers[key] = answer["result"]["question"]
    with venue.database.read_session() as session:
        stored = {row.id: row.text for row in session.execute(select(Question.id, Question.text))}
    assert stored == {number: texts[key] for key, number in numbers.items()}
