"""A camera on the line: three layers of bare packets, told apart by RIDs."""

from __future__ import annotations

from server.media import negotiation, rtcp, rtp, rtx, sdp
from server.media.publication import Publication
from tests.media.raw import SLICE, RawPeer

LAYERS = f"""a=mid:v
a=extmap:5 {rtp.RID_URI}
a=extmap:6 {rtp.REPAIRED_RID_URI}
a=rid:q send
a=rid:h send
a=rid:f send
a=simulcast:send q;h;f
a=rtpmap:107 rtx/90000
a=fmtp:107 apt=106
"""
RIDS = ("q", "h", "f")


class Camera(RawPeer):
    """Sends three layers with SSRCs that are not announced: 10, 11 and 12; RTX by 20, 21 and 22."""

    def offer(
        self, direction: str = "sendonly", setup: str = "actpass", codec: str = "H264"
    ) -> str:
        """As Chromium's: RIDs, and no SSRCs."""
        text = super().offer(direction, setup, codec).replace("SAVPF 106", "SAVPF 106 107")
        return text.replace("a=mid:v\n", LAYERS)

    def layer(self, place: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """One packet of a layer, with its RID."""
        block = rtp.extension_block([(5, RIDS[place].encode())])
        self._send(106, sequence, timestamp, 10 + place, payload + RIDS[place].encode(), block)

    def all(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """The same of all layers; their time stamps are 1,000,000 apart."""
        for place in range(3):
            self.layer(place, sequence + 1000 * place, timestamp + 1_000_000 * place, payload)

    def repeat(self, place: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """A retransmission."""
        block = rtp.extension_block([(6, RIDS[place].encode())])
        body = rtx.payload(sequence, payload + RIDS[place].encode())
        self._send(107, 1, timestamp, 20 + place, body, block)

    def asked(self) -> set[int]:
        """SSRCs that a keyframe was asked of since this was last called."""
        found = {i.ssrc for i in self.items(rtcp.KeyframeRequest)}  # type: ignore[attr-defined]
        self.reports.clear()
        return found


def publication(peer: RawPeer) -> Publication:
    """What a peer publishes, by itself."""
    lines = negotiation.accept_offer(sdp.parse(peer.offer()), publishing=True)
    return Publication("site:a", "seat-a", peer.peer, lines)


def packet(ssrc: int, sequence: int, size: int = 100, rid: str = "q") -> memoryview:
    """As it comes from the line, unprotected."""
    head = rtp.head(
        padding=False, marker=True, payload_type=106, sequence=sequence & 0xFFFF,
        timestamp=3000 * sequence, ssrc=ssrc, block=rtp.extension_block([(5, rid.encode())]),
    )  # fmt: skip
    return memoryview(head + SLICE + bytes(size))
