"""A worker's line to its recorder: what a recorder that comes again is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from server.media import messages
from server.media.control import RecorderLink
from tests.recorder.test_recorder_process import now_us

RECORD = messages.Record(messages.Recording("r1", "/nowhere", 1, "Hội nghị"))


def unpacked(told: Iterable[msgspec.Struct]) -> Iterator[msgspec.Struct]:
    """Media one by one, in their places."""
    for message in told:
        yield from message.media if isinstance(message, messages.Packets) else [message]


def packets(media: messages.Media) -> messages.Packets:
    return messages.Packets("r1", media.at_us, (media,))


class Recorder:
    """Takes what comes over one connection after another."""

    def __init__(self) -> None:
        self.told: list[msgspec.Struct] = []
        self.writer: asyncio.StreamWriter | None = None
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.told, self.writer = [], writer
        self.left.clear()
        decoder = messages.Decoder(messages.ToRecorder)
        while data := await reader.read(65_536):
            self.told += unpacked(decoder.feed(data))
        writer.close()
        self.left.set()

    async def hears(self, count: int) -> list[msgspec.Struct]:
        async with asyncio.timeout(60):
            while len(self.told) < count:
                await asyncio.sleep(0.01)
        return self.told


async def test_a_recorder_that_comes_again_gets_the_last_seconds(tmp_path: Path) -> None:
    path, recorder = tmp_path / "recorder.sock", Recorder()
    link = RecorderLink(path, lambda: link.send(RECORD), lambda message: None)
    server = await asyncio.start_unix_server(recorder.serve, path)
    link.start()
    assert await recorder.hears(1) == [RECORD], "nothing to wait for yet"

    begin_us = now_us() - 8_000_000
    media = [
        messages.Media("site:one", "H264", begin_us + second * 1_000_000, (b"%d" % second,))
        for second in range(10)
    ]
    for message in media[:8]:
        link.send(packets(message))
    assert await recorder.hears(9) == [RECORD, *media[:8]]
    assert recorder.writer is not None
    server.close()
    path.unlink(missing_ok=True)
    recorder.told = []
    recorder.writer.transport.abort()
    await asyncio.sleep(0.2)
    for message in media[8:]:  # nobody listens
        link.send(packets(message))
    server = await asyncio.start_unix_server(recorder.serve, path)
    again = msgspec.structs.replace(RECORD, until_us=media[-1].at_us)
    assert await recorder.hears(9) == [again, *media[2:]], "from before the break on, in order"
    await link.stop()
    await asyncio.wait_for(recorder.left.wait(), 60)
    server.close()
    await server.wait_closed()
