"""SIGKILL of web, worker and recorder in the middle of a conference, each in turn.

One real server for the file; real phones, a room that publishes, a page that receives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio.exceptions
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection
from sqlalchemy import select

from server.attendance.models import CheckIn
from server.conferences.models import RosterEntry
from server.db.engine import Database
from server.db.journal import JournalEntry
from server.people.models import Person
from server.permissions import Role
from server.questions.models import Question
from server.simulation.client import SeatClient
from server.simulation.publisher import SimulatedSite
from tests.hardening.conference import LUMA, TONE_HZ, Made, grey_clip, make_conference
from tests.media.harness import Page
from tests.recorder.publisher import replay, spans
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.alone

PHONES = 50
PATIENCE_S = 60.0
AWAY = (socketio.exceptions.SocketIOError, TimeoutError)


class Bridge:
    """The served conference."""

    def __init__(self, running: Running, made: Made, database: Database) -> None:
        self.running, self.made, self.database = running, made, database
        self.recording = running.folder / "recordings" / made.recording

    def kill(self, child: str) -> None:
        """SIGKILL, and wait until the supervisor has noticed."""
        before = self.running.children()[child]
        os.kill(before["pid"], signal.SIGKILL)

    async def seat(self, path: str, **form: str) -> SeatClient:
        """Somebody who came in."""
        client = SeatClient(self.running.base)
        await client.open(path, form)
        await client.connect()
        return client


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Bridge]:
    folder = tmp_path_factory.mktemp("killed")
    path = folder / "diemcau.sqlite3"
    shutil.copy(sqlite_template, path)
    made = asyncio.run(make_conference(f"sqlite:///{path}", PHONES))
    running, database = Running(folder), Database(f"sqlite:///{path}", readers=1)
    try:
        until(running.healthy)
        yield Bridge(running, made, database)
    finally:
        if running.process.poll() is None:
            running.stop()
        database.close()


@pytest.fixture
async def room(bridge: Bridge) -> AsyncIterator[SimulatedSite]:
    """Publishes until the test ends."""
    token = bridge.made.tokens[Role.ENCODER]
    room = SimulatedSite(bridge.running.base, bridge.made.slug, token, grey_clip())
    publishing = asyncio.create_task(room.run())
    async with asyncio.timeout(PATIENCE_S):
        await room.connected.wait()
    yield room
    publishing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await publishing


async def until_true(check: Callable[[], Any]) -> None:
    """Wait, within generous limits."""
    async with asyncio.timeout(PATIENCE_S):
        while not check():
            await asyncio.sleep(0.05)


class Phone:
    """A trainee who does not give up, and who remembers what the server acknowledged."""

    def __init__(self, client: SeatClient, code: str, made: Made) -> None:
        self.client, self.code, self._made = client, code, made
        self.asked: dict[int, str] = {}
        self.retries = 0

    async def act(self) -> None:
        """Check in, answer, ask: over and over, through whatever happens."""
        await self._send("attendance.check_in", {}, "here")
        item = self.client.state["runs"][str(self._made.run)]["item"]
        for number in range(5):
            choice = {"run": self._made.run, "item": item, "option": number % 2}
            await self._send("activity.answer", choice, f"answer {number}")
            text = f"Câu {number} của {self.code}"
            asked = await self._send("question.ask", {"text": text}, f"ask {number}")
            self.asked[asked["question"]] = text

    async def _send(self, type_: str, payload: dict[str, Any], key: str) -> dict[str, Any]:
        """As a page does: the same key until there is an answer."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while True:
            try:
                return await self.client.send(type_, payload, key=key, within_s=2)
            except AWAY:
                assert time.monotonic() < deadline, "the server did not come back"
                self.retries += 1
                await asyncio.sleep(0.2)


async def test_all_that_the_web_process_acknowledged_outlives_it(bridge: Bridge) -> None:
    made = bridge.made
    path = f"/c/{made.join_code}"
    phones: list[Phone] = []
    for at in range(0, PHONES, 10):
        codes = made.codes[at : at + 10]
        seats = await asyncio.gather(*(bridge.seat(path, code=code) for code in codes))
        phones += [Phone(seat, code, made) for seat, code in zip(seats, codes, strict=True)]
    first_seq = {phone.code: phone.client.seq for phone in phones}
    acting = asyncio.gather(*(phone.act() for phone in phones))
    await until_true(lambda: sum(len(phone.asked) for phone in phones) > PHONES)
    assert any(len(phone.asked) < 5 for phone in phones), "killed in the middle"
    bridge.kill("web")
    await asyncio.wait_for(acting, 3 * PATIENCE_S)
    assert sum(phone.retries for phone in phones) > 0, "some had to try again"

    with bridge.database.read_session() as session:
        texts = {row.id: row.text for row in session.execute(select(Question.id, Question.text))}
        wanted = {number: text for phone in phones for number, text in phone.asked.items()}
        assert texts == wanted, "each question once: none lost, none doubled"
        present = session.scalars(select(Person.code).join(CheckIn, CheckIn.person_id == Person.id))
        assert sorted(present) == made.codes
        query = select(JournalEntry.seq).where(JournalEntry.conference_id == made.conference_id)
        seqs = list(session.scalars(query.order_by(JournalEntry.seq)))
        assert seqs == list(range(1, len(seqs) + 1)), "the journal has no gap"
        assert len(session.scalars(select(RosterEntry.person_id)).all()) == PHONES
    for phone in phones:  # they came back by themselves, and see what is theirs
        await until_true(lambda phone=phone: _sees_its_own(phone))
        assert (phone.client.seq or 0) > (first_seq[phone.code] or 0)
    await asyncio.gather(*(phone.client.close() for phone in phones))
    desk = await bridge.seat(f"/join/{made.tokens[Role.MODERATOR]}")
    await until_true(
        lambda: [site["present"] for site in desk.state["sites"].values()] == [len(made.codes)]
    )
    await desk.close()


def _sees_its_own(phone: Phone) -> bool:
    state = phone.client.state
    own = {int(number) for number in state["sent"]}
    return own == set(phone.asked) and len(state["attendance"]) == 1


async def _receive(desk: SeatClient) -> Page:
    """Receive as the desk does. Raises: Refused and what the line raises."""
    offered = await desk.send("media.receive", {"wall": 1})
    peer = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_COMPAT))
    page = Page(peer, offered["session"])
    await page.answer(offered["sdp"])
    answer = {"session": page.session, "sdp": peer.localDescription.sdp}
    await desk.send("media.accept", answer)
    return page


def _shown(page: Page) -> Callable[[], bool]:
    """The room's picture and tone arrive."""
    return lambda: (
        abs(page.shade.get("stage", 0) - LUMA) < 8
        and any(abs(hz - TONE_HZ) < 60 for hz in page.hz.values())
    )


async def test_media_come_back_by_themselves(bridge: Bridge, room: SimulatedSite) -> None:
    desk = await bridge.seat(f"/join/{bridge.made.tokens[Role.MODERATOR]}")
    page = await _receive(desk)
    await until_true(_shown(page))
    desk.live.clear()
    bridge.kill("worker-0")
    await until_true(lambda: not room.connected.is_set())
    await until_true(lambda: "media_ready" in desk.live)
    await page.peer.close()
    again = await _receive(desk)
    await until_true(_shown(again))
    assert room.connected.is_set()
    await until_true(lambda: desk.live["publications"].get("site:hue", {}).get("video"))
    await again.peer.close()
    await desk.close()


async def test_the_recording_plays_across_the_gap(bridge: Bridge, room: SimulatedSite) -> None:
    desk = await bridge.seat(f"/join/{bridge.made.tokens[Role.MODERATOR]}")

    def recorded_s() -> float:
        return float((desk.live.get("recording") or {}).get("duration_ms", 0)) / 1000

    await until_true(lambda: recorded_s() and "site:hue" in desk.live.get("publications", {}))
    begun_s = recorded_s()
    await until_true(lambda: recorded_s() > begun_s + 4)
    zero_s = time.time() - recorded_s()
    killed_s, reported_s = time.time() - zero_s, recorded_s()
    bridge.kill("recorder-0")
    playlist = bridge.recording / "stage.m3u8"
    await until_true(lambda: spans(playlist)[-1][1] / 90_000 > killed_s + 3)
    _plays(playlist, begun_s, reported_s, killed_s)
    await desk.send("conference.move", {"to": "ended"})
    await until_true(lambda: playlist.read_text().endswith("#EXT-X-ENDLIST\n"))
    await desk.close()


def _plays(playlist: Path, begun_s: float, reported_s: float, killed_s: float) -> None:
    """All of the recording so far, and what was missed is next to nothing."""
    pieces = spans(playlist)
    assert pieces[0][0] == pieces[0][2] == 0
    for before, after in zip(pieces, pieces[1:], strict=False):
        assert (after[0], after[2]) == (before[1], before[3]), "no hole in picture or sound"
    result = replay(playlist)
    end_s = pieces[-1][1] / 90_000
    assert abs(result.luma_at(reported_s - 1) - LUMA) < 8
    # The card with which it begins stands until the room's first keyframe was recorded.
    since = [p for p in result.pictures if p.time_s > begun_s + 2]
    missing_s = sum(
        after.time_s - before.time_s
        for before, after in zip(since, since[1:], strict=False)
        if before.luma < 60
    )
    assert missing_s <= 1, "the card stands for at most a second, where nothing was recorded"
    assert abs(result.luma_at(end_s - 0.3) - LUMA) < 8, "and then the room is seen again"
    for at_s in (reported_s - 1, killed_s - 0.5, killed_s, killed_s + 0.5, end_s - 0.8):
        assert result.energy(TONE_HZ, at_s) > 3000, "nothing is missing of the sound"
