"""A live conference in a database file and as it is served, and its room's grey picture and tone."""

from __future__ import annotations

import base64
import math
import os
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from sqlalchemy import select
from sqlalchemy.orm import Session
from yarl import URL

from server.conferences.models import Conference
from server.db.engine import Database
from server.inbox import Inbox
from server.people import links
from server.people.accounts import actor_of_account
from server.people.models import Account
from server.permissions import Actor, Role
from server.protocol import (
    AddSite,
    Appoint,
    Command,
    CreateActivity,
    CreateConference,
    GiveFloor,
    ImportRoster,
    LaunchActivity,
    MoveConference,
    QuizItem,
    RosterRow,
)
from server.simulation.client import SeatClient
from server.simulation.clips import KEYFRAME_INTERVAL, Clip
from server.simulation.scenes import FRAME_RATE
from tests.test_supervisor import Running

LUMA = 150
"""of the room's picture; the recorder's card is far darker"""
TONE_HZ = 600
_LOOP_S = 2


@dataclass
class Made:
    """What clients need to come in."""

    slug: str = ""
    join_code: str = ""
    recording: str = ""
    conference_id: int = 0
    site: int = 0
    run: int = 0
    codes: list[str] = field(default_factory=list)
    tokens: dict[Role, str] = field(default_factory=dict)


async def make_conference(url: str, trainees: int) -> Made:
    """A live conference with one room on stage, its roster, and a quiz under way."""
    database = Database(url)
    inbox = Inbox(database)
    inbox.start()
    try:
        return await _make(inbox, trainees)
    finally:
        await inbox.stop()
        database.close()


async def _make(inbox: Inbox, trainees: int) -> Made:
    now, made = datetime.now(UTC), Made()
    made.codes = [f"{number:04}" for number in range(1, trainees + 1)]

    def open_account(session: Session, name: str) -> Account:
        account = session.scalar(select(Account).where(Account.username == name))
        if account is None:
            account = _account(name, now)
            session.add(account)
            session.flush()
        return account

    hoa = await inbox.transact(lambda session: open_account(session, "hoa"))
    mai = await inbox.transact(lambda session: open_account(session, "mai"))
    actor = actor_of_account(hoa)
    new = CreateConference(title="Tập huấn", starts_at=now, ends_at=now + timedelta(hours=2))
    created = await inbox.submit(actor, new)
    made.slug, made.conference_id = created["conference"], created["id"]
    chair = Actor(actor.holder, Role.ORGANISER, made.conference_id, account_id=actor.account_id)

    async def do(command: Command) -> dict[str, Any]:
        return await inbox.submit(chair, command)

    await do(Appoint(username="mai", role="moderator"))
    made.site = (await do(AddSite(name="Huế")))["site"]
    rows = [RosterRow(name=f"Nguyễn Văn {code}", site="hue", code=code) for code in made.codes]
    await do(ImportRoster(rows=tuple(rows)))
    await do(MoveConference(to="lobby"))
    await do(MoveConference(to="live"))
    await do(GiveFloor(site=made.site))
    item = QuizItem(text="Hai cộng hai?", options=("Ba", "Bốn"), correct=1, seconds=3600)
    quiz = await do(CreateActivity(title="Nhanh", items=(item,)))
    made.run = (await do(LaunchActivity(activity=quiz["activity"])))["run"]

    def link(session: Session, role: Role, **whose: int) -> str:
        expires_at = now + timedelta(days=1)
        return links.create_link(
            session, role, made.conference_id, now, expires_at, reusable=True, **whose
        )[1]

    made.tokens = {
        Role.ENCODER: await inbox.transact(lambda s: link(s, Role.ENCODER, site_id=made.site)),
        Role.OPERATOR: await inbox.transact(lambda s: link(s, Role.OPERATOR, site_id=made.site)),
        Role.MODERATOR: await inbox.transact(lambda s: link(s, Role.MODERATOR, account_id=mai.id)),
    }
    conference = await inbox.transact(lambda s: s.get_one(Conference, made.conference_id))
    made.join_code, made.recording = conference.join_code, conference.recording or ""
    return made


def _account(username: str, now: datetime) -> Account:
    return Account(
        username=username,
        name=username.title(),
        password_hash="!",
        is_organiser=username == "hoa",
        must_change=False,
        created_at=now,
    )


@dataclass
class Bridge:
    """The served conference."""

    running: Running
    made: Made
    _next: int = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self.running.base.removeprefix("http://").split(":")
        return host, int(port)

    async def phone(self) -> SeatClient:
        """A trainee who came in; each a person of their own, who keeps to that phone."""
        phone, code = SeatClient(self.running.base), self.made.codes[self._next]
        self._next += 1
        await phone.open(f"/c/{self.made.join_code}", {"code": code})
        await phone.connect()
        return phone

    def memory_kb(self) -> int:
        """What the web process holds (resident set)."""
        pid = self.running.children()["web"]["pid"]
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def handshake(self, phone: SeatClient) -> bytes:
        """The request by which a phone's WebSocket begins."""
        assert phone._http is not None
        cookies = phone._http.cookie_jar.filter_cookies(URL(phone.base_url))
        held = "; ".join(f"{name}={cookie.value}" for name, cookie in cookies.items())
        return (
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
            f"Host: {phone.base_url.removeprefix('http://')}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"Cookie: {held}\r\n\r\n"
        ).encode()


def grey_clip() -> Clip:
    """Two seconds of one shade and one tone, encoded in a moment."""
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FRAME_RATE), Fraction(FRAME_RATE)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
    encoder.options |= {"x264-params": f"keyint={KEYFRAME_INTERVAL}:scenecut=0:repeat-headers=1"}
    units = []
    for number in range(FRAME_RATE * _LOOP_S):
        frame = av.VideoFrame(320, 180, "yuv420p")
        for plane, shade in zip(frame.planes, (LUMA, 128, 128), strict=True):
            plane.update(bytes([shade]) * plane.buffer_size)
        frame.pts = number
        (packet,) = encoder.encode(frame)
        pieces = bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
        units.append(tuple(piece for piece in pieces if piece[0] & 31 not in (6, 9)))
    sound = tuple(_tone())
    return Clip("Huế", 0, tuple(units), sound, bytes([20]) * len(sound))


def _tone() -> list[bytes]:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    packets = []
    for start in range(0, 48_000 * _LOOP_S, 960):
        frame = av.AudioFrame("s16", "mono", 960)
        turn = 2 * math.pi * TONE_HZ / 48_000
        pcm = array("h", (int(9000 * math.sin(turn * (start + i))) for i in range(960)))
        frame.planes[0].update(pcm.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts = 48_000, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets
