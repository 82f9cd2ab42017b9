"""One receiving transport's line: THE place through which all its media is sent.

Here every packet gets its transport-wide number, so this is also where an estimator hears of what
is sent, and where a pacer or a probe is put in. ``budget_bps`` is what the line may carry: whoever
estimates sets it, ``allocation.allocate`` spends it (see docs/media.md, *The seam*).
"""

from __future__ import annotations

from server.media import rtp
from server.media.peer import Peer

UNLIMITED_BPS = 100_000_000
"""the budget of a line that nothing is known of"""


class Downlink:
    """Sends to one peer."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.budget_bps = UNLIMITED_BPS
        self.octets = 0
        """sent so far: headers and payloads, without what SRTP and IP add"""
        self._number = 0

    def send(self, head: rtp.Head, payload: bytes | memoryview, now_s: float) -> None:
        """Send one packet now."""
        if head.transport_at:
            self._number = (self._number + 1) & 0xFFFF
            head.write_transport(self._number)
        self.octets += len(head.data) + len(payload)
        self.peer.send_rtp(head.data, payload)
