"""Which stream of a publisher is which layer of its tracks.

By SSRC where that is announced or known, else by MID and RID (RFC 8843, 9.2; RFC 8852). SSRCs count within
one publication: whoever claims another's gets nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from server.media import rtp
from server.media.layer import Layer
from server.media.limits import Allowance
from server.media.negotiation import Line
from server.media.reading import Stream
from server.media.track import Track

MAX_REPEATING = 32
"""retransmission streams (RFC 4588) of one publisher"""
REBINDS_PER_S, REBINDS_BURST = 0.5, 4
"""new SSRCs of a layer, each a new beginning for all who receive it"""


class Streams:
    """See the module. ``on_known()``: there are others than before."""

    def __init__(self, tracks: Mapping[str, Track], ids: Mapping[str, int]) -> None:
        """``tracks`` by kind; ``ids``: header extensions by their URIs."""
        self.on_known: Callable[[], None] = lambda: None
        self._tracks = tracks
        self._mid_id = ids.get(rtp.MID_URI, 0)
        self._rid_id = ids.get(rtp.RID_URI, 0)
        self._repaired_rid_id = ids.get(rtp.REPAIRED_RID_URI, 0)
        self._repeating = {
            track.rtx_payload_type: track
            for track in tracks.values()
            if track.rtx_payload_type is not None
        }
        """by the payload types of retransmissions"""
        self._by_ssrc: dict[int, Layer] = {}
        self._by_rtx_ssrc: dict[int, Layer] = {}
        self._rebinds = Allowance(REBINDS_PER_S, REBINDS_BURST)

    def announce(self, line: Line) -> None:
        """SSRCs in the description; several of them are layers in the order of the RIDs."""
        layers = self._tracks[line.kind].layers
        if len(line.ssrcs) < len(layers):
            return
        for layer, ssrc in zip(layers, line.ssrcs, strict=False):
            self._by_ssrc[ssrc] = layer
            layer.bind(ssrc)
            if ssrc in line.repairs:
                layer.rtx_ssrc = line.repairs[ssrc]
                self._by_rtx_ssrc[line.repairs[ssrc]] = layer

    @property
    def ssrcs(self) -> list[int]:
        """Those that are known, without retransmissions."""
        return list(self._by_ssrc)

    @property
    def known(self) -> list[Stream]:
        """What compiled code may read."""
        return [
            Stream(ssrc, layer.track.payload_type, layer.rid.encode(), layer.relay)
            for ssrc, layer in self._by_ssrc.items()
            if layer.ssrc == ssrc and layer.track.payload_type not in self._repeating
        ]

    def get(self, ssrc: int) -> Layer | None:
        """The layer of an SSRC that is known."""
        return self._by_ssrc.get(ssrc)

    def identify(self, packet: memoryview, header: rtp.Header, now_s: float) -> Layer | None:
        """The layer of an unannounced SSRC: by MID, else by payload type; then by RID."""
        values = {identifier: bytes(v) for identifier, v in rtp.extensions(packet, header)}
        mid = values.get(self._mid_id)
        fitting = [t for t in self._tracks.values() if t.payload_type == header.payload_type]
        if mid is not None and any(t.mid.encode() == mid for t in self._tracks.values()):
            fitting = [t for t in fitting if t.mid.encode() == mid]
        if len(fitting) != 1:
            return None
        layer = _named(fitting[0], values.get(self._rid_id, b""))
        return layer if layer is not None and self.bind(layer, header.ssrc, now_s) else None

    def rename(self, layer: Layer, rid: bytes, ssrc: int, now_s: float) -> Layer:
        """A packet of this layer's SSRC names a RID: the layer that it is of."""
        if not layer.rid or layer.rid.encode() == rid:
            return layer
        named = _named(layer.track, rid)
        return named if named is not None and self.bind(named, ssrc, now_s) else layer

    def bind(self, layer: Layer, ssrc: int, now_s: float) -> bool:
        """From now on ``ssrc`` is this layer's; False if it changes too often."""
        if ssrc == layer.ssrc:
            return True
        if layer.ssrc is not None and not self._rebinds.take(1, now_s):
            return False
        before = self._by_ssrc.get(ssrc)
        if before is not None:
            before.ssrc = None
        if layer.ssrc is not None:
            self._by_ssrc.pop(layer.ssrc, None)
        self._by_ssrc[ssrc] = layer
        layer.bind(ssrc)
        self.on_known()
        return True

    def repeats(self, payload_type: int) -> bool:
        """Is it a retransmission (RFC 4588)?"""
        return payload_type in self._repeating

    def repeated(self, header: rtp.Header, values: Mapping[int, bytes]) -> Layer | None:
        """The layer that a retransmission is of. ``values``: its header extensions."""
        layer = self._by_rtx_ssrc.get(header.ssrc)
        if layer is None:
            track = self._repeating[header.payload_type]
            layer = _named(track, values.get(self._repaired_rid_id, b""))
            if layer is None or len(self._by_rtx_ssrc) >= MAX_REPEATING:
                return None
            self._by_rtx_ssrc.pop(layer.rtx_ssrc or 0, None)
            layer.rtx_ssrc = header.ssrc
            self._by_rtx_ssrc[header.ssrc] = layer
        return layer


def _named(track: Track, rid: bytes) -> Layer | None:
    """The layer with this RID; the only one needs no name."""
    if len(track.layers) == 1:
        return track.layers[0]
    return next((layer for layer in track.layers if layer.rid.encode() == rid), None)
