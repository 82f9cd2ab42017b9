"""The load of ``scenes.py``: a process that is all rooms of a conference, each a publisher and a page.

One room is on stage and sends 1280×720 with sound, the others send what walls show (320×180 at 15
frames a second): no layer that nobody receives is sent to either server. Each page receives the
stage, its sound where that is not its own (a room would hear itself), and a tile of every room that
is neither on stage nor its own: as many streams from either server, to each page alike. Orders come
as those of ``viewers.py``.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.load.endpoints import TRANSPORT_ID, Publisher, Viewer  # noqa: E402
from benchmarks.load.janus import Session  # noqa: E402
from benchmarks.load.viewers import mids, post, take_orders  # noqa: E402

SMALL_SPEED = 0.5
"""captures have 30 frames a second"""
OUR_TRANSPORT_ID = 2
"""of feedback's extension, as our offers number it"""
RTX = "a=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n"


class Page:
    """A page's Socket.IO, as far as media needs it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self.session = ""
        self.slots: dict[str, str | None] = {}
        """mid → what it shows"""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, base: str, room: dict[str, Any]) -> Page:
        """As the holder of ``room``'s seat."""
        url = f"{base}/socket.io/?EIO=4&transport=websocket"
        headers = {"Cookie": room["cookie"]}
        page = cls(await http.ws_connect(url, headers=headers, max_msg_size=0))
        await page._ask("40", json.dumps({"seat": room["seat"], "since": None}))
        return page

    async def request(self, name: str, **payload: Any) -> Any:
        """A media request's result. Raises: RuntimeError where it is refused."""
        number = str(len(self._answers))
        body = json.dumps([name, payload, f"{name}{number}"])
        (answer,) = json.loads(await self._ask("43" + number, body, "42" + number))
        if not answer["ok"]:
            raise RuntimeError(f"{name}: {answer}")
        return answer["result"]

    async def _ask(self, answered: str, body: str, asked: str = "") -> str:
        self._answers[answered] = asyncio.get_running_loop().create_future()
        await self._socket.send_str((asked or answered) + body)
        return str(await asyncio.wait_for(self._answers[answered], 20))

    async def _read(self) -> None:
        async for message in self._socket:
            text: str = message.data
            if text == "2":
                await self._socket.send_str("3")
            if text.startswith('42["live"'):
                for fact in json.loads(text[2:])[1]:
                    if fact["type"] == "slots":
                        self.slots = fact["data"]["slots"]
            for mark, future in self._answers.items():
                rest = text.removeprefix(mark)
                if len(rest) < len(text) and not rest[:1].isdigit() and not future.done():
                    future.set_result(rest)

    async def hide(self, own: str) -> None:
        """Do without the tiles of the room on stage, which is large already, and of ``own``."""
        needless = (self.slots["stage"], own)
        tiles = [mid for mid in self.slots if mid.startswith("wall")]
        heights = {mid: 0 for mid in tiles if self.slots[mid] in needless}
        await self.request("media.view", session=self.session, heights=heights)

    async def close(self) -> None:
        """Leave."""
        self._reading.cancel()
        await self._socket.close()


class Scene:
    """All rooms; the first is on stage."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._publishers: list[Publisher] = []
        self._viewers: list[Viewer] = []
        self._pages: list[Page] = []
        self._own: list[str] = []
        """the source of each page's room"""
        self._playing: list[asyncio.Task[None]] = []
        self._http: aiohttp.ClientSession | None = None

    async def connect_janus(self, base: str, rooms: int, sample: int) -> dict[str, Any]:
        """A room of Janus's."""
        http = self._http = aiohttp.ClientSession()
        session = Session(http, base)
        await session.start()
        feeds = []
        for _ in range(rooms):
            publisher = Publisher(self._address)
            feed, answer = await session.publish(publisher.offer())
            await publisher.connect(answer)
            self._publishers.append(publisher)
            feeds.append(feed)
        await asyncio.sleep(1)  # Janus knows of them a little later
        for own in feeds:
            streams = [{"feed": feeds[0], "mid": "0"}]
            streams += [{"feed": feeds[0], "mid": "1"}] if own != feeds[0] else []
            streams += [{"feed": feed, "mid": "0"} for feed in feeds[1:] if feed != own]
            viewer = Viewer(self._address, sample)
            handle, offer = await session.offer(streams)
            answering = asyncio.create_task(viewer.connect(offer))
            answer = viewer.describe(mids(offer), "recvonly", "active")
            await session.accept(handle, answer)
            await answering
            viewer.count(TRANSPORT_ID if "transport-wide-cc" in offer else 0)
            self._viewers.append(viewer)
        return {}

    async def connect_ours(
        self, base: str, conference: str, rooms: list[dict[str, Any]], sample: int
    ) -> dict[str, Any]:
        """Rooms that publish as encoders do, and receive as pages."""
        http = self._http = aiohttp.ClientSession()
        for room in rooms:
            publisher = Publisher(self._address)
            publisher.lite = False
            url = f"{base}/whip/{conference}"
            await publisher.connect(await post(http, url, room["encoder"], publisher.offer()))
            self._publishers.append(publisher)
        for room in rooms:
            page = await Page.open(http, base, room)
            self._pages.append(page)
            self._own.append(room["source"])
            given = await page.request("media.receive", wall=len(rooms))
            viewer = Viewer(self._address, sample)
            answer = viewer.describe(mids(given["sdp"]), "recvonly", "active")
            answer = answer.replace("SAVPF 102\r\n", "SAVPF 102 103\r\n")
            answer = answer.replace("a=rtpmap:102 H264/90000\r\n", RTX)
            connecting = asyncio.create_task(viewer.connect(given["sdp"]))
            await page.request("media.accept", session=given["session"], sdp=answer)
            await connecting
            viewer.count(OUR_TRANSPORT_ID)
            self._viewers.append(viewer)
            page.session = given["session"]
        return {}

    async def play(self, large: str, small: str, seconds: float, warm: float) -> dict[str, Any]:
        """Replay; what came, as counted after ``warm`` seconds."""
        big = json.loads(Path(large).read_text())
        tile = [row for row in json.loads(Path(small).read_text()) if row[1] == "video"]
        for i, publisher in enumerate(self._publishers):
            capture, speed = (tile, SMALL_SPEED) if i else (big, 1.0)
            await asyncio.sleep(0.01)  # not all at the same moment
            playing = publisher.play(capture, math.inf, speed)
            self._playing.append(asyncio.create_task(playing))
        await asyncio.sleep(warm / 2)
        hiding = zip(self._pages, self._own, strict=True)
        await asyncio.gather(*(page.hide(own) for page, own in hiding))
        await asyncio.sleep(warm / 2)
        for viewer in self._viewers:
            viewer.restart()
        print(json.dumps({"begun": time.monotonic()}), flush=True)
        own_s, begin_s = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed_s = time.monotonic() - begin_s
        totals = [viewer.totals() for viewer in self._viewers]
        expected, received = (sum(column) for column in zip(*totals, strict=True))
        for task in self._playing:
            task.cancel()
        if not expected:
            raise RuntimeError("nothing came")
        delays_s = sorted(d for viewer in self._viewers for d in viewer.delays_s)
        return {
            "seconds": elapsed_s,
            "expected": expected,
            "received": received,
            "load": (time.process_time() - own_s) / elapsed_s,
            "delays_ms": [round(d * 1000, 3) for d in delays_s[:: max(1, len(delays_s) // 2000)]],
            "streams": sorted({len(viewer.media) for viewer in self._viewers}),
            "repeated": sum(viewer.repeated for viewer in self._viewers),
        }

    async def close(self) -> dict[str, Any]:
        """Hang up all."""
        for each in (*self._pages, *self._viewers, *self._publishers):
            await each.close()
        if self._http is not None:
            await self._http.close()
        return {}


if __name__ == "__main__":
    asyncio.run(take_orders(Scene(sys.argv[1])))
