"""One picture or sound of a publication: a ``Track`` of one or more ``Layer`` streams, and which of them are
offered, wanted and asked for keyframes.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from server.media import keyframes, layers, levels, rtcp
from server.media.layer import ALIVE_S, SILENT_S, Layer
from server.media.layers import Offer
from server.media.levels import Loudness
from server.media.negotiation import Line, normal_name

if TYPE_CHECKING:
    from server.media.publication import Publication


class Track:
    """See the module. Without simulcast it has one layer."""

    def __init__(self, publication: Publication, line: Line) -> None:
        codec = line.codecs[0]
        self.publication = publication
        self.mid = line.mid
        self.kind = line.kind
        self.codec = normal_name(codec) or codec.name
        self.payload_type = codec.payload_type
        self.rtx_payload_type = line.rtx.get(codec.payload_type)
        self.clock_rate_hz = codec.clock_rate_hz
        self.loudness = Loudness()
        self.layers = [Layer(self, rid, place) for place, rid in enumerate(line.rids or [""])]
        self.on_layers: Callable[[], None] = lambda: None
        """a layer has begun (again), or its publisher has stopped it"""
        self.received_at_s = float("-inf")
        """the latest packet of any layer"""
        self.stall = (float("-inf"), float("-inf"))
        """the last time that no layer came: its begin and end"""
        self._nack = "nack" in codec.feedback
        self._asked_at_s = float("-inf")
        self._offers: tuple[float, list[tuple[Layer, Offer]]] = (float("-inf"), [])
        """the latest, and of when"""
        self._turn: list[tuple[tuple[int, int] | None, bool]] = []

    def received(self, now_s: float) -> None:
        """A packet of any layer has come."""
        if now_s - self.received_at_s > SILENT_S:
            self.stall = (self.received_at_s, now_s)
        self.received_at_s = max(self.received_at_s, now_s)

    def told(self, sent: Set[int] | None) -> None:
        """Its publisher sends the layers in these places, and no others; None: nobody knows."""
        if sent is None or len(self.layers) < 2:
            return
        found = [layer.place not in sent for layer in self.layers]
        if found != [layer.stopped for layer in self.layers]:
            for layer, stopped in zip(self.layers, found, strict=True):
                layer.stopped = stopped
            self.publication.peer.noted(self.on_layers)

    @property
    def size(self) -> tuple[int, int] | None:
        """Of the largest picture that came last, (width, height) in pixels."""
        newest_s = self.received_at_s
        found = [
            layer.size
            for layer in self.layers
            if layer.size is not None and newest_s - layer.received_at_s < SILENT_S
        ]
        return max(found, default=None)

    def level(self, now_s: float) -> float:
        """How loud it is, in -dBov."""
        return levels.UNTOLD if self._untold(now_s) else self.loudness.level(now_s)

    def held_level(self, now_s: float) -> float:
        """How loud it was of late, while it speaks; see ``Loudness``."""
        return levels.UNTOLD if self._untold(now_s) else self.loudness.held_level(now_s)

    def _untold(self, now_s: float) -> bool:
        return not self.loudness.told and now_s - self.received_at_s < ALIVE_S

    def want_keyframe(self) -> None:
        """Whoever receives this picture may have lost its way."""
        for layer in self.layers:
            if layer.outputs:
                layer.requests.want()

    def offers(self, now_s: float) -> list[tuple[Layer, Offer]]:
        """The layers in ascending order, as ``layers.ladder`` takes them; the same list for all who
        ask at one moment.
        """
        if self._offers[0] == now_s:
            return self._offers[1]
        known = [(layer.height_px, layer.place, layer) for layer in self.layers]
        found: list[tuple[Layer, Offer]] = []
        below_px = 0
        for height_px, _, layer in sorted(known, key=lambda each: each[:2]):
            if layer.size is None:
                height_px = max(height_px, 2 * below_px)
            bitrate_bps = layer.meter.bitrate_bps or layers.nominal_bps(height_px)
            found.append((layer, Offer(height_px, bitrate_bps, layer.alive(now_s))))
            below_px = height_px
        self._offers = now_s, found
        return found

    def measure(self, now_s: float) -> None:
        """Now and then: what its layers send."""
        for layer in self.layers:
            layer.measure(now_s)
        self._offers = (float("-inf"), [])

    def turned(self, now_s: float) -> bool:
        """Has a layer come, gone or changed its size since this was last asked?"""
        others = len(self.layers) > 1  # the only one there is stays, whether it flows or not
        found = [(layer.size, others and layer.alive(now_s)) for layer in self.layers]
        before, self._turn = self._turn, found
        return self._turn != before

    def top(self, now_s: float) -> Layer:
        """The largest layer that flows, and the one to wish for is marked as wanted."""
        largest = len(self.offers(now_s)) - 1
        return self.nearest(largest, -1, now_s)

    def nearest(self, place: int, current: int, now_s: float) -> Layer:
        """``layers.playable``; what would come nearer is marked as wanted. A publisher whose line does not
        carry what is meant may have been told to pause the next one, which nobody received."""
        offered = self.offers(now_s)
        played = layers.playable([offer for _, offer in offered], place, current)
        for layer, _ in offered[played + 1 : place + 1]:
            layer.wanted_at_s = now_s
        offered[place][0].wanted_at_s = now_s
        return offered[played][0]

    def wanted_rids(self, now_s: float) -> tuple[str, ...]:
        """The layers to be sent. The lowest always is: it shows that the camera is on."""
        ascending = [layer for layer, _ in self.offers(now_s)]
        kept = ascending[:1] + [layer for layer in ascending[1:] if layer.wanted(now_s)]
        return tuple(layer.rid for layer in self.layers if layer in kept)

    def nacks(self, now_s: float) -> list[bytes]:
        """What is missing and due to be asked for, possibly nothing; where there is no NACK it is given up
        in time."""
        out: list[bytes] = []
        for layer in self.layers:
            missing = layer.arrivals.due(now_s) if layer.arrivals.holes else []
            if missing and layer.ssrc is not None and self._nack:
                out += rtcp.nacks(self.publication.ssrc, layer.ssrc, missing)
        return out

    def requests(self, now_s: float) -> list[bytes]:
        """The PLI that is due, possibly none. Browsers answer one for one layer by keyframes of all: so
        once for all of them."""
        if now_s - self._asked_at_s < keyframes.MIN_INTERVAL_S:
            return []
        out: list[bytes] = []
        for layer in self.layers:
            if layer.ssrc is not None and layer.requests.due(now_s):
                out.append(rtcp.pli(self.publication.ssrc, layer.ssrc))
                self._asked_at_s = now_s
                overdue_s = layer.requests.overdue_s(now_s)
                if overdue_s and layer.alive(now_s):
                    self.publication.warn("sends no keyframe", f"asked_for_s={overdue_s:.0f}")
        return out
