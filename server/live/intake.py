"""What many WebSockets have sent is read and cut into messages by one call (``intake.c``).

asyncio wakes a callback for each socket that can be read, and each takes and gives up the
interpreter's lock around its ``recv``. Here the sockets are in an epoll of their own, which asyncio
watches as one descriptor. What is not plain in any way (fragments, control frames, the end) is
handed on as it came, and is the ordinary way's; without a compiler everything is.
"""

from __future__ import annotations

import asyncio
import functools
import select
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog
from cffi import FFI  # type: ignore[import-untyped]

from server import native

VERSION = 2
ROOM_BYTES = 256 << 10
"""Read by one call at most; little of it is ever touched."""
MOST_NOTES = 8192
ABOUT_SOCKET, ABOUT_MESSAGE = 4, 4
"""notes"""
_DECLARATIONS = """
int diemcau_cut(const uint8_t *data, uint32_t size, uint8_t *plain, int32_t *found, int most);
int diemcau_take_in(int epoll, uint8_t *raw, uint8_t *plain, uint32_t room, int32_t *notes,
                    int most);
"""

log = structlog.get_logger(__name__)


Sent = tuple[Any, bytes, bytes, bytes]
"""A command as most come: who speaks, ``{digits}``, ``["{name}",{payload},`` and the key, all in printable
ASCII without a backslash. The payload is whatever stands there."""


class Sender(Protocol):
    """Whose socket it is."""

    def speaks(self, size: int) -> Any:
        """Who says what came in so many bytes, and is counted, where a command may be taken at once;
        None where it must be looked at first."""

    def arrived(self, data: memoryview, messages: Sequence[memoryview]) -> None:
        """``data`` has come: ``messages``, unmasked, where it is nothing but whole text frames, and
        none where it is something else. Both are good until it returns."""

    def ended(self) -> None:
        """Nothing more comes, or reading failed. It is watched no longer."""

    def cut_off(self) -> None:
        """Hang up: what it sent could not be handled."""


@functools.cache
def library() -> tuple[FFI, Any] | None:
    """The compiled code, None where it was not built."""
    return native.load(Path(__file__).parent, "_intake", _DECLARATIONS, VERSION)


class Intake:
    """Reads the sockets of one loop."""

    def __init__(self, compiled: tuple[FFI, Any], take: Callable[[Sequence[Sent]], None]) -> None:
        ffi, self._code = compiled
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._senders: dict[int, Sender] = {}
        raw, plain = bytearray(ROOM_BYTES), bytearray(ROOM_BYTES)
        self._raw, self._plain = memoryview(raw), memoryview(plain)
        self._notes = array("i", bytes(4 * MOST_NOTES))
        self._arguments = (
            self._epoll.fileno(),
            ffi.from_buffer("uint8_t[]", raw),
            ffi.from_buffer("uint8_t[]", plain),
            ROOM_BYTES,
            ffi.from_buffer("int32_t[]", self._notes),
            MOST_NOTES,
        )
        self._loop.add_reader(self._epoll, self._take_in)

    def watch(self, descriptor: int, sender: Sender) -> None:
        """Hand on what comes by this socket from now on."""
        self._senders[descriptor] = sender
        self._epoll.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Read it no more, as long as it is not watched again; nothing where it is not."""
        if self._senders.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Read nothing any more."""
        self._loop.remove_reader(self._epoll)
        self._epoll.close()
        self._senders.clear()

    def _take_in(self) -> None:
        count = self._code.diemcau_take_in(*self._arguments)
        notes, at = self._notes[:count].tolist(), 0
        raw, plain, senders = self._raw, self._plain, self._senders
        commands: list[Sent] = []
        while at < count:
            descriptor, start, size, messages = notes[at : at + ABOUT_SOCKET]
            at += ABOUT_SOCKET
            sender = senders.get(descriptor)  # None: what was handled before has ended it
            if messages == 1 and sender is not None and notes[at + 3]:
                speaker = sender.speaks(size)
                if speaker is not None:
                    begin, length, number, payload = notes[at : at + ABOUT_MESSAGE]
                    at += ABOUT_MESSAGE
                    text = plain[begin : begin + length].tobytes()
                    key = text[payload + 1 : -2]
                    commands.append((speaker, text[2:number], text[number:payload], key))
                    continue
            found = []
            for _ in range(messages):
                begin = notes[at]
                found.append(plain[begin : begin + notes[at + 1]])
                at += ABOUT_MESSAGE
            if commands:
                self._give(commands)  # what came first is done first
                commands = []
            if sender is not None:
                self._hand_on(sender, descriptor, raw[start : start + size], found)
        if commands:
            self._give(commands)

    def _give(self, commands: Sequence[Sent]) -> None:
        try:
            self._take(commands)
        except Exception:  # as asyncio does
            log.exception("socket.commands_failed")

    def _hand_on(
        self, sender: Sender, descriptor: int, data: memoryview, messages: Sequence[memoryview]
    ) -> None:
        try:
            if data:
                sender.arrived(data, messages)
            else:
                self.forget(descriptor)
                sender.ended()
        except Exception:  # as asyncio does; nobody else's fault
            log.exception("socket.intake_failed")
            sender.cut_off()


def intake(take: Callable[[Sequence[Sent]], None]) -> Intake | None:
    """One for the running loop; None where asyncio has to read. ``take`` is given the commands that
    have come, and should not raise."""
    compiled = library()
    return None if compiled is None else Intake(compiled, take)
