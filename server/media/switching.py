"""One outgoing stream that shows one layer after another: ``Switch``.

A switch happens at a keyframe; until it comes the old layer goes on. What becomes of the numbered
packets is for those who build on it: a subscriber's ``Output``, a recording's ``Tap``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from server.media import keyframes, rtp
from server.media.bursts import Burst, Packet
from server.media.layer import Layer
from server.media.rewrite import Part, Rewriter
from server.media.track import Track
from server.media.vp8 import Continuity

CUT_LIMIT_S = 1.0
"""the old picture may bridge the wait for the new one's keyframe for so long"""


class Switch:
    """See the module. ``deliver`` gets what is to be sent."""

    patient = False
    """may it hear a moment later of what came?"""

    def __init__(self, clock_rate_hz: int, *, plain: bool = False) -> None:
        self.shown: Layer | None = None
        self._pending: Layer | None = None
        self.waiting: set[Switch] = set()
        """those of its owner's that wait for a keyframe; one set for all of them"""
        self.rewriter: Rewriter[Layer] = Rewriter(clock_rate_hz, plain=plain)
        self.continuity = Continuity()
        self.on_change: Callable[[], None] = lambda: None
        """the source is another one"""
        self._pending_since_s = 0.0

    def deliver(
        self,
        part: Part[Layer],
        header: rtp.Header,
        packet: bytes,
        sequence: int,
        timestamp: int,
        now_s: float,
        *,
        newest: bool,
    ) -> None:
        """Send this packet of ``part`` with these numbers."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Would anything that is sent arrive?"""
        return True

    @property
    def pending(self) -> Layer | None:
        """What is shown from its next keyframe on."""
        return self._pending

    @pending.setter
    def pending(self, layer: Layer | None) -> None:
        self._pending = layer
        if layer is None:
            self.waiting.discard(self)
        else:
            self.waiting.add(self)

    @property
    def source(self) -> str | None:
        """What is shown now."""
        return self.shown.track.publication.source if self.shown is not None else None

    def current(self, track: Track) -> Layer | None:
        """The layer of ``track`` that is shown or awaited."""
        for layer in (self.pending, self.shown):
            if layer is not None and layer.track is track:
                return layer
        return None

    def want(self, layer: Layer | None, now_s: float) -> None:
        """Show ``layer`` from its next keyframe on, or nothing at once."""
        if layer is None:
            self._set_pending(None, now_s)
            self._show(None)
        elif layer is self.shown:
            if self.pending not in (None, layer):  # it may be awaiting its own restart
                self._set_pending(None, now_s)
        elif layer is not self.pending:
            self._set_pending(layer, now_s)

    def leave_fan(self) -> None:
        """What is shown, or how it is sent, changes: who takes it together with others does no more."""

    def retimed(self) -> None:
        """The publisher has told where time stamps lie, after they were guessed."""

    def _set_pending(self, layer: Layer | None, now_s: float) -> None:
        self.leave_fan()
        if self.shown is not None and self.pending is self.shown and layer is not self.shown:
            self._show(None)  # it began anew: nothing of it fits until its keyframe
        if self.pending is not None and self.pending is not self.shown:
            self.pending.detach(self)
        if layer is None or self.pending is None or layer.track is not self.pending.track:
            self._pending_since_s = now_s
        self.pending = layer
        if layer is not None:
            layer.attach(self)
            layer.requests.want()

    def _show(self, layer: Layer | None) -> None:
        self.leave_fan()
        before = self.source
        if self.shown is not None and self.shown is not layer:
            self.shown.detach(self)
        self.shown = layer
        if self.source != before:
            self.on_change()

    def resynchronise(self, layer: Layer) -> None:
        """``layer`` began anew (another SSRC): enter it again."""
        self.leave_fan()
        if self.shown is layer and self.pending in (None, layer):
            self.pending = layer
            self._pending_since_s = time.monotonic()
        elif self.shown is layer:
            self._show(None)  # what is awaited comes soon
        layer.requests.want()

    def request_keyframe(self) -> None:
        """What is shown cannot be decoded."""
        if self.shown is not None:
            self.shown.requests.want()

    def tick(self, now_s: float) -> None:
        """Ask again for the keyframe that is awaited; end the old picture when that takes long."""
        pending = self.pending
        if pending is None:
            return
        pending.requests.want()
        if self.shown is not pending and self.shown is not None:
            if self.shown.track is pending.track:
                return  # another layer of the same picture: nobody waits for it
        waited_s = now_s - self._pending_since_s
        if pending.requests.ignored or waited_s > keyframes.PATIENCE_S:
            self._begin_with_the_past(pending, now_s)
        if self.pending is not None and waited_s > CUT_LIMIT_S and self.shown is not pending:
            self._show(None)

    def _begin_with_the_past(self, layer: Layer, now_s: float) -> None:
        """Enter ``layer`` by its latest group of pictures, squeezed into some milliseconds."""
        if layer.track.kind != "video" or not self.ready:
            return
        group = [
            (number, header, packet)
            for number, packet in layer.latest_group(now_s)
            if (header := rtp.parse(packet)) is not None
        ]
        if not group:
            return
        times = list(dict.fromkeys(header.timestamp for _, header, _ in group))
        first, header, packet = group[0]
        part = self.rewriter.switch(layer, first, times[-1], now_s, times[:-1])
        self._entered(part, header, packet)
        for number, header, packet in group:
            self._forward(number, header, packet, now_s)
        part.even_from = group[-1][0] + 1

    def _entered(self, part: Part[Layer], header: rtp.Header, packet: bytes) -> None:
        self._count_on(part, header, packet)
        self.pending = None
        self._show(part.origin)

    def _count_on(self, part: Part[Layer], header: rtp.Header, packet: bytes) -> None:
        """The codec's own counters go on where ``part`` begins."""
        if part.origin.track.codec == "VP8":
            view = memoryview(packet)[header.payload_start : header.payload_end]
            part.counters = self.continuity.begin(view)

    def _aligned(self, layer: Layer) -> int | None:
        """The shift of time stamps by which ``layer`` goes on where another of its track stood."""
        part = self.rewriter.part
        if part is None or part.origin.track is not layer.track or part.origin is layer:
            return None
        ahead = part.origin.timeline.ahead_of(layer.timeline)
        return None if ahead is None else part.aligned_shift + ahead

    def receive(self, layer: Layer, burst: Burst, now_s: float) -> None:
        """Packets of a layer that is shown or awaited."""
        if layer is self.shown and layer is not self.pending:
            self.forward(burst, now_s)
            return
        for packet in burst.packets:
            self._receive(layer, packet, now_s)

    def forward(self, burst: Burst, now_s: float) -> None:
        """Packets of what is shown."""
        for packet in burst.packets:
            self._forward(packet.number, packet.header, packet.data, now_s)

    def _receive(self, layer: Layer, packet: Packet, now_s: float) -> None:
        if layer is self.pending:
            if not packet.begins:
                if layer is self.shown:  # after its restart: nothing fits until a keyframe
                    return
            else:
                number, timestamp = packet.number, packet.header.timestamp
                aligned = self._aligned(layer)
                part = self.rewriter.switch(layer, number, timestamp, now_s, aligned=aligned)
                self._entered(part, packet.header, packet.data)
        if layer is self.shown:
            self._forward(packet.number, packet.header, packet.data, now_s)

    def _forward(self, number: int, header: rtp.Header, packet: bytes, now_s: float) -> None:
        before = self.rewriter.highest
        numbers = self.rewriter.forward(number, header.timestamp, now_s)
        part = self.rewriter.part
        if numbers is not None and part is not None:
            newest = self.rewriter.highest != before
            self.deliver(part, header, packet, *numbers, now_s, newest=newest)

    def close(self) -> None:
        """Take nothing any more."""
        self.leave_fan()
        for layer in (self.shown, self.pending):
            if layer is not None:
                layer.detach(self)
        self.shown = self.pending = None
