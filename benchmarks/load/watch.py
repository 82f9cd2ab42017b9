"""What a page's stage shows and its room hears, as the page itself measures it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page

# Counters begin anew with each connection: they are kept for each of them.
SCRIPT = """
window.counted = async () => {
  const found = {at: performance.now(), peers: []};
  for (const peer of window.peers) {
    const sum = {concealed: 0, silent: 0, samples: 0, freezes: 0, frozen: 0};
    for (const report of (await peer.getStats()).values()) {
      if (report.type !== "inbound-rtp") continue;
      sum.concealed += report.concealedSamples ?? 0;
      sum.silent += report.silentConcealedSamples ?? 0;
      sum.samples += report.totalSamplesReceived ?? 0;
      if (report.mid !== "stage") continue;
      sum.freezes += report.freezeCount ?? 0;
      sum.frozen += report.totalFreezesDuration ?? 0;
    }
    found.peers.push(sum);
  }
  return found;
};
window.watch = () => {
  const video = document.querySelector("#stage video");
  const frames = window.frames_ = [];
  const seen = (_, frame) => {
    frames.push([frame.presentationTime, frame.height]);
    if (frames === window.frames_) video.requestVideoFrameCallback(seen);
  };
  video.requestVideoFrameCallback(seen);
};
"""
SOUND_SAMPLES = 48_000 // 2


@dataclass
class Watched:
    """What was seen from ``begin_ms`` to ``end_ms`` of the page's clock."""

    begin_ms: float
    end_ms: float
    frames: list[tuple[float, int]]
    """(time of showing, height)"""
    counts: dict[str, float] = field(default_factory=dict)

    def between(self, begin_ms: float, end_ms: float) -> Watched:
        """A part of it, without counts."""
        frames = [frame for frame in self.frames if begin_ms <= frame[0] < end_ms]
        return Watched(begin_ms, end_ms, frames)

    @property
    def longest_ms(self) -> float:
        """The longest interval without a new picture, begin and end included."""
        times = [self.begin_ms, *(at for at, _ in self.frames), self.end_ms]
        return max(b - a for a, b in zip(times, times[1:], strict=False))

    @property
    def frames_per_s(self) -> float:
        """Shown."""
        return len(self.frames) / max(0.001, self.end_ms - self.begin_ms) * 1000

    @property
    def height_px(self) -> int:
        """Of the picture that was shown most."""
        heights = [height for _, height in self.frames]
        return max(set(heights), key=heights.count, default=0)

    @property
    def concealment(self) -> float | None:
        """The share of sound that the browser made up."""
        samples = self.counts.get("samples", 0)
        return self.counts["concealed"] / samples if samples else None


class Watch:
    """Watches the stage of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._before: dict[str, Any] = {}

    async def begin(self) -> None:
        """Forget what was seen so far."""
        await self.page.wait_for_load_state()
        self._before = await self.page.evaluate("(watch(), counted())")

    async def now_ms(self) -> float:
        """Of the page's clock."""
        found: float = await self.page.evaluate("performance.now()")
        return found

    async def read(self) -> Watched:
        """What was seen since ``begin``."""
        after = await self.page.evaluate("counted()")
        frames = await self.page.evaluate("frames_")
        counts = dict.fromkeys(after["peers"][0], 0.0) if after["peers"] else {}
        before = self._before["peers"]
        for i, peer in enumerate(after["peers"]):
            for name, value in peer.items():
                base = before[i][name] if i < len(before) else 0
                counts[name] += max(0, value - base)
        return Watched(self._before["at"], after["at"], [(at, h) for at, h in frames], counts)

    async def moves(self, timeout_s: float, height_px: int = 0) -> float | None:
        """Wait for ten pictures, and half a second of sound, from now on; the last so high. Seconds
        until then, None where they do not come in time."""
        await self.begin()
        for _ in range(round(timeout_s / 0.1)):
            await self.page.wait_for_timeout(100)
            found = await self.read()
            lively = len(found.frames) >= 10 and found.frames[-1][1] >= height_px
            if lively and found.counts.get("samples", 0) >= SOUND_SAMPLES:
                return (found.frames[0][0] - found.begin_ms) / 1000
        return None
