"""The load of ``sfu.py``: a process that publishes captures and is many viewers of them.

Orders come on standard input, one JSON object a line, and so do answers on standard output.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.load.endpoints import TRANSPORT_ID, Publisher, Viewer  # noqa: E402
from benchmarks.load.janus import Session  # noqa: E402

MIDS = [("0", "video"), ("1", "audio")]
AT_ONCE = 8
"""handshakes under way: all share two cores"""


class Load:
    """Everything that is connected now."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._publisher: Publisher | None = None
        self._viewers: list[Viewer] = []
        self._capture: list[Any] = []
        self._http: aiohttp.ClientSession | None = None

    async def connect_janus(self, base: str, viewers: int, sample: int) -> dict[str, Any]:
        """One publisher and its viewers in Janus's room."""
        http = self._http = aiohttp.ClientSession()
        session = Session(http, base)
        await session.start()
        publisher = self._publisher = Publisher(self._address)
        feed, answer = await session.publish(publisher.offer())
        await publisher.connect(answer)
        await asyncio.sleep(1)  # Janus knows of it a little later
        for _ in range(viewers):
            viewer = Viewer(self._address, sample)
            handle, offer = await session.offer([{"feed": feed}])
            answering = asyncio.create_task(viewer.connect(offer))
            await session.accept(handle, viewer.describe(mids(offer), "recvonly", "active"))
            await answering
            viewer.count(0 if "transport-wide-cc" not in offer else TRANSPORT_ID)
            self._viewers.append(viewer)
        return {}

    async def connect_ours(
        self, base: str, conference: str, site: str, encoder: str, tokens: list[str],
        viewers: int, sample: int,
    ) -> dict[str, Any]:  # fmt: skip
        """One encoder by WHIP and its viewers by WHEP."""
        http = self._http = aiohttp.ClientSession()
        publisher = self._publisher = Publisher(self._address)
        publisher.lite = False
        answer = await post(http, f"{base}/whip/{conference}", encoder, publisher.offer())
        await publisher.connect(answer)
        url = f"{base}/whep/{conference}?source=site:{site}"

        async def watch(number: int) -> None:
            made = Viewer(self._address, sample)
            self._viewers.append(made)
            offer = made.describe(MIDS, "recvonly", "actpass").replace("a=ice-lite\r\n", "")
            async with turn:
                answer = await post(http, url, tokens[number % len(tokens)], offer)
                await made.connect(answer)
            made.count(TRANSPORT_ID if "transport-wide-cc" in answer else 0)

        turn = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*map(watch, range(viewers)))
        return {}

    async def play(self, capture: str, seconds: float, speed: float, warm: float) -> dict[str, Any]:
        """Replay; what came, as counted after ``warm`` seconds."""
        if not self._capture:
            self._capture = json.loads(Path(capture).read_text())
        assert self._publisher is not None
        playing = asyncio.create_task(self._publisher.play(self._capture, warm + seconds, speed))
        await asyncio.sleep(warm)
        for viewer in self._viewers:
            viewer.restart()
        print(json.dumps({"begun": time.monotonic()}), flush=True)
        own_s, begin_s = time.process_time(), time.monotonic()
        await playing
        elapsed_s = time.monotonic() - begin_s
        own_s = time.process_time() - own_s
        await asyncio.sleep(0.3)
        totals = [viewer.totals() for viewer in self._viewers]
        expected, received = (sum(column) for column in zip(*totals, strict=True))
        delays_s = sorted(d for viewer in self._viewers for d in viewer.delays_s)
        return {
            "seconds": elapsed_s,
            "expected": expected,
            "received": received,
            "load": own_s / elapsed_s,
            "streams": min(len(viewer.streams) for viewer in self._viewers),
            "delays_ms": [round(d * 1000, 3) for d in delays_s[:: max(1, len(delays_s) // 2000)]],
        }

    async def close(self) -> dict[str, Any]:
        """Hang up all."""
        for viewer in self._viewers:
            await viewer.close()
        if self._publisher is not None:
            await self._publisher.close()
        if self._http is not None:
            await self._http.close()
        return {}


def mids(offer: str) -> list[tuple[str, str]]:
    """(mid, kind) of its sections."""
    kinds = [line[2:].split()[0] for line in offer.splitlines() if line.startswith("m=")]
    mids = [line[6:] for line in offer.splitlines() if line.startswith("a=mid:")]
    return list(zip(mids, kinds, strict=True))


async def post(http: aiohttp.ClientSession, url: str, token: str, offer: str) -> str:
    """The answer by WHIP or WHEP; when there are too many at once, a little later."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    while True:
        async with http.post(url, data=offer, headers=headers) as response:
            text = await response.text()
            if response.status == 201:
                return text
            if response.status != 429:
                raise RuntimeError(f"{url}: {response.status} {text}")
        await asyncio.sleep(float(response.headers.get("Retry-After", 1)))


async def take_orders(load: Any) -> None:
    """Until standard input ends: each names a method of ``load``."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        try:
            answer = await getattr(load, order.pop("do"))(**order)
        except Exception as error:  # the order's giver decides
            traceback.print_exc()
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)
    await load.close()


if __name__ == "__main__":
    asyncio.run(take_orders(Load(sys.argv[1])))
