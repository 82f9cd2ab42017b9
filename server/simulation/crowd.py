"""The people of the demo: trainees who check in, ask and answer at a human pace; rooms that raise
a hand; operators who tick those without a phone. All by the server's own forms and wire."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import aiohttp
import socketio.exceptions
import structlog

from server.simulation.client import Refused, SeatClient

log = structlog.get_logger("crowd")

NETWORK = (aiohttp.ClientError, socketio.exceptions.SocketIOError, TimeoutError, OSError)
"""The server is away; a person waits and tries again."""

ARRIVE_EVERY_S = 0.35
ASK_EVERY_S = (8.0, 30.0)
HAND_EVERY_S = (40.0, 90.0)
HANDS_AT_ONCE = 3
TICK_EVERY_S = 2.5
ANSWER_AFTER_S = (2.0, 14.0)
PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Trainee:
    """Somebody with a phone."""

    code: str
    site: str


class Crowd:
    """Everybody in the rooms. ``run`` until it is cancelled."""

    def __init__(
        self,
        base_url: str,
        join_code: str,
        trainees: Sequence[Trainee],
        operators: dict[str, str],
        questions: Sequence[str],
        *,
        verify_tls: bool,
        seed: int = 2023,
    ) -> None:
        """``operators`` maps a site's slug to the token of its operator's link."""
        self._base_url, self._join_code = base_url, join_code
        self._trainees, self._operators = trainees, operators
        self._questions = list(questions)
        self._verify_tls = verify_tls
        self._chance = random.Random(seed)
        self._phones: list[SeatClient] = []
        """those who are in"""
        self._everybody: list[SeatClient] = []

    async def run(self) -> None:
        """Act, until cancelled; then everybody leaves."""
        try:
            async with asyncio.TaskGroup() as acting:
                acting.create_task(self._arrive(acting))
                acting.create_task(self._ask())
                for number, (site, token) in enumerate(self._operators.items()):
                    acting.create_task(self._keep_room(site, token, number))
        finally:
            leaving = (client.close() for client in self._everybody)
            await asyncio.gather(*leaving, return_exceptions=True)

    def _somebody(self) -> SeatClient:
        client = SeatClient(self._base_url, verify_tls=self._verify_tls)
        self._everybody.append(client)
        return client

    async def _arrive(self, acting: asyncio.TaskGroup) -> None:
        """One after the other comes in, checks in and stays for the quizzes."""
        for trainee in self._trainees:
            phone = self._somebody()

            async def come_in(phone: SeatClient = phone, trainee: Trainee = trainee) -> None:
                await phone.open(f"/c/{self._join_code}", {"code": trainee.code})
                await phone.connect()
                await phone.send("attendance.check_in", {})

            if await self._patiently(come_in):
                self._phones.append(phone)
                acting.create_task(self._answer(phone))
            await asyncio.sleep(self._chance.expovariate(1 / ARRIVE_EVERY_S))

    async def _answer(self, phone: SeatClient) -> None:
        """Answer each item of a quiz once, after some thought; a few change their mind."""
        answered: set[int] = set()
        while True:
            runs = phone.state.get("runs", {}).values()
            run = next(
                (r for r in runs if r["state"] == "open" and r["item"] not in answered), None
            )
            if run is None:
                await phone.wait()
                continue
            answered.add(run["item"])
            await asyncio.sleep(self._chance.uniform(*ANSWER_AFTER_S))
            for _ in range(1 if self._chance.random() < 0.9 else 2):
                option = self._choose(len(run["options"]))
                choice = {"run": run["run"], "item": run["item"], "option": option}
                await self._once(partial(phone.send, "activity.answer", choice))

    def _choose(self, options: int) -> int:
        """Not everybody knows, but most lean the same way."""
        return 1 if self._chance.random() < 0.55 else self._chance.randrange(options)

    async def _ask(self) -> None:
        while self._questions:
            await asyncio.sleep(self._chance.uniform(*ASK_EVERY_S))
            if self._phones:
                phone, text = self._chance.choice(self._phones), self._questions.pop(0)
                await self._once(lambda: phone.send("question.ask", {"text": text}))

    async def _keep_room(self, site: str, token: str, number: int) -> None:
        """A room's operator: ticks people without a phone, raises the hand now and then."""
        room = self._somebody()
        await asyncio.sleep(number)  # not all at the same moment

        async def come_in() -> None:
            await room.open(f"/join/{token}")
            await room.connect()

        if await self._patiently(come_in):
            async with asyncio.TaskGroup() as acting:
                acting.create_task(self._tick(room))
                acting.create_task(self._raise_hand(room))

    async def _tick(self, room: SeatClient) -> None:
        with_phone = {trainee.code for trainee in self._trainees}
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / TICK_EVERY_S))
            present = room.state.get("attendance", {})
            waiting = [
                entry["person"]
                for entry in room.state.get("roster", {}).values()
                if str(entry["person"]) not in present and entry["code"] not in with_phone
            ]
            if len(waiting) <= 8:  # some never come
                return
            person = self._chance.choice(waiting)
            await self._once(lambda: room.send("attendance.tick", {"person": person}))

    async def _raise_hand(self, room: SeatClient) -> None:
        reasons = ("", "Trao đổi kinh nghiệm của địa phương", "Đề nghị làm rõ cách tính điểm")
        while True:
            await asyncio.sleep(self._chance.uniform(*HAND_EVERY_S) * 3)
            if room.state["conference"]["state"] != "live":
                continue
            if len(room.state["requests"]) < HANDS_AT_ONCE:
                reason = self._chance.choice(reasons)
                await self._once(lambda: room.send("floor.request", {"reason": reason}))

    async def _patiently(self, act: Callable[[], Awaitable[object]]) -> bool:
        """Try until the server is there. False where it says no."""
        while True:
            try:
                await act()
                return True
            except Refused as refused:
                log.info("refused", code=refused.code)
                return False
            except NETWORK:
                await asyncio.sleep(PATIENCE_S)

    async def _once(self, act: Callable[[], Awaitable[object]]) -> None:
        """Try once; a person shrugs at a no, and at a line that is away."""
        try:
            await act()
        except Refused as refused:
            log.debug("refused", code=refused.code)
        except NETWORK as error:
            log.info("away", error=type(error).__name__)
