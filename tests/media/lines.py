"""A bad line to the worker, as ``benchmarks/load/relay.py`` makes it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

RELAY = Path(__file__).parents[2] / "benchmarks" / "load" / "relay.py"
CANDIDATE = re.compile(r"^(a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1) (\d+) ", re.MULTILINE)
OTHERS = re.compile(r"^a=candidate:(?!\S+ 1 udp \d+ 127\.0\.0\.1 ).*\r?\n", re.MULTILINE)


class BadLine:
    """A relay; peers that get their descriptions through ``describe`` talk over it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def start(self, sdp: str, seed: int = 1) -> None:
        """Before the server that ``sdp`` describes."""
        found = CANDIDATE.search(sdp)
        assert found is not None, sdp
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(RELAY), "--to", f"127.0.0.1:{found[2]}", "--seed", str(seed)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())

    def describe(self, sdp: str) -> str:
        """The server's description with the relay as its one candidate."""
        return CANDIDATE.sub(rf"\1 {self.port} ", OTHERS.sub("", sdp))

    def change(self, **fields: str | float) -> None:
        """From now on; see ``relay.Way``."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def stop(self) -> None:
        """No line any more."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
