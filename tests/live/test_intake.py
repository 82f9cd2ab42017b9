"""Read by one call or by asyncio: whatever comes, in whatever pieces, a line hears the same."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import struct
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.live.allowance import FRAMES_BURST, Allowance
from server.live.decode import Plain, decode
from server.live.intake import Intake, Sent, intake, library
from server.live.websocket import SLICE_BYTES, Line
from server.protocol import Answer

PATIENCE_S = 60.0


class Listener:
    """Whoever owns a line; what it heard, and whether that has ended."""

    def __init__(self, unwell: bytes = b"") -> None:
        self.messages: list[str | bytes] = []
        self.ended = asyncio.Event()
        self._unwell = unwell.decode()

    def heard(self, line: Line, message: str | bytes) -> None:
        self.messages.append(message)
        if self._unwell and message == self._unwell:
            raise RuntimeError(message)

    def lost(self, line: Line) -> None:
        self.ended.set()

    def overrun(self, line: Line) -> None:
        pass


class Endless(Allowance):
    """Nothing waits for its turn."""

    def wait_s(self, now_s: float) -> float:
        self.left = math.inf
        return 0.0


async def open_line(
    listener: Listener, reads: Intake | None, allowance: Allowance | None = None
) -> tuple[Line, socket.socket]:
    """A line and the socket of its client, by default one that is known."""
    if allowance is None:
        allowance = Allowance(asyncio.get_running_loop().time())
        allowance.trust()
    near, far = socket.socketpair()
    far.setblocking(False)
    line = Line(listener, 100_000, allowance, reads)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    transport.set_protocol(line)
    line.connection_made(transport)
    return line, far


def text_of(number: bytes, head: bytes, key: bytes) -> str:
    return (b'42%b%b"%b"]' % (number, head, key)).decode()


def _hear(sent: Sequence[Sent]) -> None:
    """Commands as any other message."""
    for listener, *command in sent:
        listener.messages.append(text_of(*command))


def needed() -> Intake:
    """The compiled one."""
    made = intake(_hear)
    assert made is not None, "it is compiled where the tests run"
    return made


def frame(payload: bytes, first: int = 0x81, mask: bytes | None = b"\x0f\xf0\x55\xaa") -> bytes:
    """A client's frame; without ``mask`` it is none that a client may send."""
    size, masked = len(payload), 0x80 if mask else 0
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[n & 3] for n, byte in enumerate(payload))


masks = st.binary(min_size=4, max_size=4)
commands = st.sampled_from(
    [
        '420["conference.check_in",{},"k"]',
        '42123["activity.answer",{"run":1,"item":2,"option":0},"0f-1"]',
        '42["activity.answer",{"run":1,"item":2,"option":0},"","k"]',
        '427["question.ask",{"text":"Ừ"},"k"]',
        '427["question.ask",{"text":"a\\"b"},"k"]',
        '427["a",1,"k"]]',
        '4212345678901234567["a",{},"k"]',
    ]
)
texts = st.one_of(
    commands,
    st.text(max_size=20),
    st.integers(0, 70_000).map(lambda n: "điểm cầu"[: n % 8] + "x" * n),
)
plain = st.builds(lambda text, mask: frame(text.encode(), mask=mask), texts, masks)
wild = st.one_of(
    plain,
    st.builds(frame, st.binary(max_size=130), st.integers(0, 255), st.none() | masks),
    st.just(frame("nửa".encode()[:-1], 0x01) + frame("nửa".encode()[-1:], 0x80)),
    st.just(frame("nửa".encode()[:-1])),
    st.sampled_from([frame(b"?", 0x89), frame(b"!", 0x8A), frame(b"\x03\xe8", 0x88)]),
    st.binary(max_size=20),
    st.just(b"\x81\xfe\x00\x02mask42"),
)
streams = st.one_of(st.lists(plain, max_size=40), st.lists(wild, max_size=6)).map(b"".join)


@settings(max_examples=150)
@given(stream=streams, cuts=st.lists(st.integers(0, 9000), max_size=6), trusted=st.booleans())
def test_whatever_comes_is_heard_the_same(stream: bytes, cuts: list[int], trusted: bool) -> None:
    asyncio.run(_heard_the_same(stream, cuts, trusted))


async def _heard_the_same(stream: bytes, cuts: list[int], trusted: bool) -> None:
    one_call = needed()
    outcomes = []
    for reads in (one_call, None):
        listener = Listener()
        allowance = Endless(0.0)
        allowance.trusted = trusted
        line, far = await open_line(listener, reads, allowance)
        line.speaker = listener if trusted else None
        answer = await _say(far, stream, cuts)
        async with asyncio.timeout(PATIENCE_S):
            await listener.ended.wait()
        outcomes.append((listener.messages, answer))
    one_call.close()
    assert outcomes[0] == outcomes[1]


async def _say(far: socket.socket, stream: bytes, cuts: list[int]) -> bytes:
    """Send it in pieces, then nothing more; what was answered."""
    loop, answer = asyncio.get_running_loop(), b""
    try:
        for size in (*cuts, len(stream)):
            piece, stream = stream[:size], stream[size:]
            await loop.sock_sendall(far, piece)
            await asyncio.sleep(0.001)
        far.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has hung up already
    try:
        while some := await loop.sock_recv(far, 1 << 16):
            answer += some
    except ConnectionError:
        pass
    far.close()
    return answer


def found(text: str) -> tuple[bytes, bytes, bytes] | None:
    """Number, name with payload, and key of what the compiled code takes for a command."""
    compiled = library()
    assert compiled is not None
    ffi, code = compiled
    data = frame(text.encode())
    plain, notes = ffi.new("uint8_t[]", len(data)), ffi.new("int32_t[]", 4)
    assert code.diemcau_cut(data, len(data), plain, notes, 1) == 1
    begin, size, number, payload = notes
    whole = bytes(ffi.buffer(plain))[begin : begin + size]
    assert whole == text.encode()
    return (whole[2:number], whole[number:payload], whole[payload + 1 : -2]) if payload else None


pieces = st.sampled_from(
    [
        *'"",,[]{}:0123 \\\n\x7f',
        '{"run":1,"item":2,"option":0}',
        '"activity.answer"',
        "42",
        "é",
        '"k"',
    ]
)
near_commands = st.one_of(
    st.lists(pieces, max_size=12).map("".join),
    st.builds(
        '42{}["{}",{},"{}"]'.format,
        st.sampled_from(["", "7", "123456789012345", "1234567890123456", "-1", "x"]),
        st.sampled_from(["activity.answer", "conference.check_in", "media.see", "", "a" * 81]),
        st.lists(pieces, max_size=5).map("".join),
        st.one_of(st.sampled_from(["k", "", "k" * 80, "k" * 81]), st.text(max_size=9)),
    ),
)


@settings(max_examples=600)
@given(text=near_commands)
def test_what_is_taken_for_a_plain_command_is_what_a_parser_of_json_finds(text: str) -> None:
    parts = found(text)
    if parts is None:
        return
    number, head, key = parts
    assert text_of(*parts) == text and number.isdigit() | (not number) and len(number) <= 15
    command = Plain().decode(head)
    if command is not None:
        name, *arguments = msgspec.json.decode(text[2 + len(number) :], type=list[msgspec.Raw])
        assert decode(msgspec.json.decode(name), arguments) == (command, key.decode())


def test_a_command_as_pages_send_it_is_plain() -> None:
    text = '4217["activity.answer",{"run":1,"item":2,"option":0},"9b1d-4e"]'
    parts = found(text)
    assert parts == (b"17", b'["activity.answer",{"run":1,"item":2,"option":0},', b"9b1d-4e")
    plain = Plain()
    command = plain.decode(parts[1])
    assert command == Answer(run=1, item=2, option=0) and plain.decode(parts[1]) is command
    for head in (b'["activity.answer",{"run":1},', b'["nothing.known",{},', b'["media.close",{},'):
        assert plain.decode(head) is None


async def test_a_flood_waits_and_is_read_when_it_may_be() -> None:
    reads, listener, other = needed(), Listener(), Listener()
    line, far = await open_line(listener, reads)
    _bystander, beside = await open_line(other, reads)
    flooding = asyncio.create_task(
        asyncio.get_running_loop().sock_sendall(far, frame(b"x" * 20) * 4 * FRAMES_BURST)
    )
    async with asyncio.timeout(PATIENCE_S):
        while len(listener.messages) < FRAMES_BURST:
            await asyncio.sleep(0.01)
        beside.sendall(frame(b"am I heard?"))
        while not other.messages:
            await asyncio.sleep(0.01)
        most = FRAMES_BURST + SLICE_BYTES // 26 + 1
        assert len(listener.messages) < 2 * most, "the rest waits in the network"
        read = len(listener.messages)
        while len(listener.messages) <= read:
            await asyncio.sleep(0.01)
    flooding.cancel()
    line.cut_off()  # that its client has gone is seen behind all that waits
    for socket_ in (far, beside):
        socket_.close()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(listener.ended.wait(), other.ended.wait())
    reads.close()


async def test_what_cannot_be_handled_ends_one_line_alone() -> None:
    reads, listeners = needed(), [Listener(unwell=b"unwell") for _ in range(3)]
    lines = [await open_line(listener, reads) for listener in listeners]
    for number, (_, far) in enumerate(lines):
        far.sendall(frame(b"unwell" if number == 1 else b"well"))
    async with asyncio.timeout(PATIENCE_S):
        await listeners[1].ended.wait()
        while not (listeners[0].messages and listeners[2].messages):
            await asyncio.sleep(0.01)
    assert not listeners[0].ended.is_set() and not listeners[2].ended.is_set()
    for _, far in lines:
        far.close()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(listener.ended.wait() for listener in listeners))
    reads.close()


async def test_a_descriptor_that_is_anothers_by_now_is_not_mixed_up() -> None:
    reads, first = needed(), Listener()
    line, far = await open_line(first, reads)
    descriptor = line.direct
    line.cut_off()
    far.close()
    async with asyncio.timeout(PATIENCE_S):
        await first.ended.wait()
    await asyncio.sleep(0.01)
    near, new = socket.socketpair()
    assert descriptor in (near.fileno(), new.fileno())
    for one, another in ((near, new), (new, near)):
        one.sendall(frame(b"for somebody else"))
        await asyncio.sleep(0.05)
        assert another.recv(100) == frame(b"for somebody else") and not first.messages
    near.close()
    new.close()
    reads.close()


class Executioner(Listener):
    """Ends a line of its room when it is told to, in the middle of what one call has read."""

    def __init__(self, name: str, room: dict[str, Line]) -> None:
        super().__init__()
        self._name, self._room = name, room
        self.misheard: list[str | bytes] = []
        """what was for another, or came after the end"""

    def heard(self, line: Line, message: str | bytes) -> None:
        name, how, whom = str(message).split()
        if name != self._name or self._room.get(name) is not line:
            self.misheard.append(message)
        self.messages.append(message)
        if how != "say" and (victim := self._room.pop(whom, None)) is not None:
            victim.cut_off() if how == "cut" else victim.close()

    def lost(self, line: Line) -> None:
        super().lost(line)
        self._room.pop(self._name, None)


@pytest.mark.parametrize("seed", range(2))
async def test_lines_that_end_in_the_middle_of_a_batch_take_nothing_of_others(seed: int) -> None:
    """Their descriptors are others' a moment later, while more of what was read waits to be heard."""
    chance, reads = random.Random(seed), needed()
    room: dict[str, Line] = {}
    clients: dict[str, tuple[Executioner, socket.socket, list[str]]] = {}
    for _ in range(60):
        while len(room) < 12:
            name = str(len(clients))
            listener = Executioner(name, room)
            room[name], far = await open_line(listener, reads)
            clients[name] = listener, far, []
        for name in chance.sample(sorted(room), 8):
            how = chance.choice(["say"] * 6 + ["cut", "close"])
            words = [
                f"{name} say -",
                f"{name} {how} {chance.choice(sorted(room))}",
                f"{name} say +",
            ]
            wire = b"".join(frame(word.encode()) for word in words)
            _, far, said = clients[name]
            said += words
            half = chance.choice([len(wire), chance.randrange(len(wire))])
            with contextlib.suppress(OSError):  # it may have been ended in between
                far.sendall(wire[:half])
                if half < len(wire):
                    await asyncio.sleep(0)
                    far.sendall(wire[half:])
        await asyncio.sleep(0.001)
    for _, far, _ in clients.values():
        far.close()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(listener.ended.wait() for listener, _, _ in clients.values()))
    reads.close()
    for listener, _, said in clients.values():
        assert not listener.misheard
        assert listener.messages == said[: len(listener.messages)]
    assert sum(len(listener.messages) for listener, _, _ in clients.values()) > 300
