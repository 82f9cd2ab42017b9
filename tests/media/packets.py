"""Packets as a layer hands them on, where what is in them does not matter."""

from __future__ import annotations

from server.media import rtp
from server.media.bursts import Packet


def packet(number: int, timestamp: int, *, begins: bool = False) -> Packet:
    """One of ten payload bytes, the last of its picture; ``number`` is unwrapped."""
    data = rtp.head(
        padding=False, marker=True, payload_type=100, sequence=number & 0xFFFF,
        timestamp=timestamp, ssrc=7,
    ) + bytes(10)  # fmt: skip
    header = rtp.parse(data)
    assert header is not None
    return Packet(number, header, data, begins)
