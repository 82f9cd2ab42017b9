"""RTP headers (RFC 3550, 5.1) and header extensions (RFC 8285), read in place.

Pure: a malformed packet is ``None``, never an exception.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_FIXED = struct.Struct("!BBHII")
_VARYING = struct.Struct("!BBHI")
_U16 = struct.Struct("!H")
ONE_BYTE = 0xBEDE
TWO_BYTE = 0x1000
MAX_ELEMENTS = 64
"""extensions and bytes of padding of one header that are looked at: browsers write ten, and each is work"""

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
LAYERS_URI = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
TRANSPORT_CC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

Bytes = bytes | memoryview


class Header(NamedTuple):
    """What the fixed header says, and where things are in the packet."""

    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    profile: int
    """of the extension block, 0 without one"""
    extension_start: int
    extension_end: int
    payload_start: int
    payload_end: int
    """without padding"""


def parse(data: Bytes) -> Header | None:
    """The header of one RTP packet, None if it is malformed."""
    size = len(data)
    if size < 12:
        return None
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
    if first >> 6 != 2:
        return None
    start = 12 + 4 * (first & 15)
    profile = 0
    extension_start = extension_end = start
    if first & 0x10:
        if start + 4 > size:
            return None
        profile = (data[start] << 8) | data[start + 1]
        extension_start = start + 4
        start = extension_end = extension_start + 4 * ((data[start + 2] << 8) | data[start + 3])
    end = size
    if first & 0x20:
        padding = data[size - 1]
        if padding == 0:
            return None
        end -= padding
    if start > end:
        return None
    return Header(
        second >= 128,
        second & 127,
        sequence,
        timestamp,
        ssrc,
        profile,
        extension_start,
        extension_end,
        start,
        end,
    )


def extensions(data: Bytes, header: Header) -> Iterator[tuple[int, Bytes]]:
    """Each (id, value) of the extension block; stops silently where it is malformed, or has too many."""
    position, end = header.extension_start, header.extension_end
    if header.profile == ONE_BYTE:
        for _ in range(MAX_ELEMENTS):
            if position >= end:
                return
            first = data[position]
            position += 1
            if first == 0:
                continue
            if first >> 4 in (0, 15):  # RFC 8285, 4.2: stop; as well at a 0 that has a length
                return
            size = (first & 15) + 1
            if position + size > end:
                return
            yield first >> 4, data[position : position + size]
            position += size
    elif header.profile & 0xFFF0 == TWO_BYTE:
        for _ in range(MAX_ELEMENTS):
            if position >= end:
                return
            identifier = data[position]
            position += 1
            if identifier == 0:
                continue
            if position >= end or position + 1 + data[position] > end:
                return
            size = data[position]
            yield identifier, data[position + 1 : position + 1 + size]
            position += 1 + size


def extension_block(elements: list[tuple[int, bytes]]) -> bytes:
    """A one-byte-header extension block with its profile and length, ready to follow the SSRC.

    Values have 1 to 16 bytes, ids are 1 to 14.
    """
    body = b"".join(bytes([(i << 4) | (len(value) - 1)]) + value for i, value in elements)
    body += bytes(-len(body) % 4)
    return struct.pack("!HH", ONE_BYTE, len(body) // 4) + body


def head(
    *, padding: bool, marker: bool, payload_type: int, sequence: int, timestamp: int, ssrc: int,
    block: bytes = b"",
) -> bytes:  # fmt: skip
    """A fixed header without CSRCs, followed by ``block`` if any (see ``extension_block``)."""
    return (
        _FIXED.pack(
            0x80 | (0x20 if padding else 0) | (0x10 if block else 0),
            payload_type | (0x80 if marker else 0),
            sequence,
            timestamp,
            ssrc,
        )
        + block
    )


class Head:
    """The header of one outgoing stream, written in place anew for each packet.

    ``elements`` are the (id, value) of its extensions. With ``transport_id`` there is room for a
    transport-wide sequence number at ``transport_at``, 0 without.
    """

    __slots__ = ("_extended", "data", "transport_at")

    def __init__(
        self, ssrc: int, elements: list[tuple[int, bytes]] | None = None, transport_id: int = 0
    ) -> None:
        found = list(elements or [])
        if transport_id:
            found.insert(0, (transport_id, bytes(2)))
        block = extension_block(found) if found else b""
        self.transport_at = 12 + 4 + 1 if transport_id else 0
        self._extended = 0x10 if block else 0
        self.data = bytearray(_FIXED.pack(0x80 | self._extended, 0, 0, 0, ssrc) + block)

    def write(
        self, *, padding: bool, marker: bool, payload_type: int, sequence: int, timestamp: int
    ) -> None:
        """All but the SSRC and the extensions."""
        _VARYING.pack_into(
            self.data,
            0,
            0x80 | (0x20 if padding else 0) | self._extended,
            payload_type | (0x80 if marker else 0),
            sequence,
            timestamp,
        )

    def write_transport(self, number: int) -> None:
        """The transport-wide sequence number."""
        _U16.pack_into(self.data, self.transport_at, number)


def plain(data: Bytes, header: Header) -> bytes:
    """The packet without CSRCs, extensions and padding: what a recorder needs."""
    return (
        bytes([0x80]) + bytes(data[1:12]) + bytes(data[header.payload_start : header.payload_end])
    )
