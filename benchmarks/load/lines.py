"""A bad line between one page and the server: the relay, and what leads a page over it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

CLEAR = {
    "loss": 0.0, "burst": 1.0, "delay_ms": 0.0, "rate_bps": 0.0, "reorder": 0.0, "duplicate": 0.0,
}  # fmt: skip

# Media goes to the relay and, but where UDP is said to be blocked, nowhere else.
LEAD = """(port) => {
  const over = (sdp) => sdp.replace(/a=candidate:.*\\r\\n/g, (line) => {
    const [id, component, transport, priority, address, , ...rest] = line.split(" ");
    if (address !== "127.0.0.1") return "";
    if (transport !== "udp") return localStorage.getItem("tcp") ? line : "";
    return [id, component, transport, priority, address, port, ...rest].join(" ");
  });
  window.peers = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) { super(...given); window.peers.push(this); }
    setRemoteDescription({type, sdp}) { return super.setRemoteDescription({type, sdp: over(sdp)}); }
  };
}"""


class Line:
    """From one browser to the server; clear until it is changed."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self.media_port = self.port = 0

    async def start(self, media: int, http: int, seed: int) -> None:
        """To the server's ports on this machine."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("relay.py")), "--seed", str(seed)),
            *("--to", f"127.0.0.1:{media}", "--tcp", f"127.0.0.1:{http}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.media_port = int(await self._process.stdout.readline())
        self.port = int(await self._process.stdout.readline())

    @property
    def script(self) -> str:
        """To be run in a page before its own."""
        return f"({LEAD})({self.media_port})"

    def change(self, **fields: str | float) -> None:
        """From now on; see ``relay.Way``."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def stop(self) -> None:
        """No line any more."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
