"""Retransmission streams (RFC 4588, 4): a packet wrapped and unwrapped. Pure."""

from __future__ import annotations

import struct

from server.media import rtp

_U16 = struct.Struct("!H")


def unwrap(
    packet: bytes | memoryview, header: rtp.Header, payload_type: int, ssrc: int
) -> tuple[bytes, rtp.Header] | None:
    """The original packet, without its header extensions; None for padding and nonsense."""
    start = header.payload_start
    if header.payload_end - start < 3:
        return None  # an empty original: bandwidth probes look like this
    head = rtp.head(
        padding=False,
        marker=header.marker,
        payload_type=payload_type,
        sequence=packet[start] << 8 | packet[start + 1],
        timestamp=header.timestamp,
        ssrc=ssrc,
    )
    original = head + bytes(packet[start + 2 : header.payload_end])
    found = rtp.parse(original)
    return (original, found) if found is not None else None


def payload(sequence: int, original: bytes | memoryview) -> bytes:
    """The payload that repeats ``original``, which had the number ``sequence``."""
    return _U16.pack(sequence) + original
