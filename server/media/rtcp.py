"""RTCP, the part that a forwarder speaks (RFC 3550, 4585, 5104). Pure.

``parse`` never raises: it yields what is well formed and stops where a compound packet is not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
TRANSPORT_FEEDBACK = 205
PAYLOAD_FEEDBACK = 206

NACK = 1
PLI = 1
FIR = 4
APPLICATION = 15
MOST_PARTS = 32
"""packets in a compound one; browsers send six at most. Each costs the same, however small it is."""
NUMBERS_A_NACK = 250
"""four bytes each where they lie far apart"""
TRANSPORT_WIDE = 15
"""format of draft-holmer-rmcat-transport-wide-cc-extensions-01"""

MAX_DATAGRAM_BYTES = 1200
"""of what is joined to one; what SRTP, UDP and IP add fits into any line's 1,280"""
Bytes = bytes | memoryview
_U32 = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class SenderReport:
    """When the sender's clock said ``ntp`` (64-bit NTP), its stream was at ``rtp``."""

    ssrc: int
    ntp: int
    rtp: int


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """How one stream arrives (RFC 3550, 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """in 1/256"""
    lost: int
    highest: int
    jitter: int
    last_sr: int
    delay_since_last_sr: int
    """in 1/65536 s"""


@dataclass(frozen=True, slots=True)
class Nack:
    """Packets asked for again (RFC 4585, 6.2.1)."""

    ssrc: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeyframeRequest:
    """PLI (RFC 4585, 6.3.1) or FIR (RFC 5104, 4.3.1)."""

    ssrc: int


@dataclass(frozen=True, slots=True)
class Congestion:
    """Transport-wide congestion feedback; see ``feedback.read``."""

    fci: bytes


@dataclass(frozen=True, slots=True)
class Remb:
    """The rate that a receiver estimates (draft-alvestrand-rmcat-remb-03, 2.2)."""

    bitrate_bps: int


Item = SenderReport | ReportBlock | Nack | KeyframeRequest | Congestion | Remb


def parse(data: Bytes) -> Iterator[Item]:
    """What a (compound) packet says that a forwarder cares for."""
    for count, kind, body in _parts(data):
        yield from _parse_one(count, kind, body)


def sender_reports(data: Bytes) -> Iterator[SenderReport]:
    """All that a (compound) packet of a publisher says that its receiver cares for."""
    for _, kind, body in _parts(data):
        if kind == SENDER_REPORT and len(body) >= 24:
            yield SenderReport(*struct.unpack_from("!IQI", body))


def _parts(data: Bytes) -> Iterator[tuple[int, int, bytes]]:
    """Count (or format), type and body of each packet, of the first ``MOST_PARTS``."""
    position = 0
    for _ in range(MOST_PARTS):
        if position + 4 > len(data):
            return
        first, kind, words = struct.unpack_from("!BBH", data, position)
        end = position + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            return
        yield first & 31, kind, bytes(data[position + 4 : end])
        position = end


def transport_wide(data: Bytes) -> bytes | None:
    """The FCI of a packet that is transport-wide feedback and nothing else, as most that come are."""
    if len(data) < 20 or data[0] != 0x80 | TRANSPORT_WIDE or data[1] != TRANSPORT_FEEDBACK:
        return None
    return bytes(data[12:]) if len(data) == 4 + 4 * (data[2] << 8 | data[3]) else None


def _parse_one(count: int, kind: int, body: bytes) -> Iterator[Item]:
    if kind == SENDER_REPORT and len(body) >= 24:
        ssrc, ntp, rtp = struct.unpack_from("!IQI", body)
        yield SenderReport(ssrc, ntp, rtp)
        yield from _blocks(body[24:], count)
    elif kind == RECEIVER_REPORT and len(body) >= 4:
        yield from _blocks(body[4:], count)
    elif kind == TRANSPORT_FEEDBACK and count == NACK and len(body) >= 8:
        yield Nack(_U32.unpack_from(body, 4)[0], tuple(_nacked(body[8:])))
    elif kind == TRANSPORT_FEEDBACK and count == TRANSPORT_WIDE and len(body) >= 16:
        yield Congestion(body[8:])
    elif kind == PAYLOAD_FEEDBACK and count == PLI and len(body) >= 8:
        yield KeyframeRequest(_U32.unpack_from(body, 4)[0])
    elif kind == PAYLOAD_FEEDBACK and count == APPLICATION and body[8:12] == b"REMB":
        if len(body) >= 16:
            exponent, mantissa = body[13] >> 2, (body[13] & 3) << 16 | body[14] << 8 | body[15]
            yield Remb(mantissa << exponent)
    elif kind == PAYLOAD_FEEDBACK and count == FIR:
        for position in range(8, len(body) - 7, 8):
            yield KeyframeRequest(_U32.unpack_from(body, position)[0])


def _blocks(body: bytes, count: int) -> Iterator[ReportBlock]:
    for i in range(min(count, len(body) // 24)):
        ssrc, loss, highest, jitter, last_sr, delay = struct.unpack_from("!IIIIII", body, 24 * i)
        lost = loss & 0xFFFFFF
        if lost & 0x800000:
            lost -= 0x1000000
        yield ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay)


def _nacked(body: bytes) -> Iterator[int]:
    for position in range(0, len(body) - 3, 4):
        first, mask = struct.unpack_from("!HH", body, position)
        yield first
        for bit in range(16):
            if mask >> bit & 1:
                yield (first + 1 + bit) & 0xFFFF


def packet(count: int, kind: int, body: bytes) -> bytes:
    """One RTCP packet; ``body`` is padded by its maker to whole words."""
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def datagrams(packets: Iterable[bytes]) -> Iterator[bytes]:
    """Packets joined to as few datagrams as hold them, in their order."""
    joined = b""
    for each in packets:
        if joined and len(joined) + len(each) > MAX_DATAGRAM_BYTES:
            yield joined
            joined = b""
        joined += each
    if joined:
        yield joined


def pli(sender: int, ssrc: int) -> bytes:
    """Ask for a keyframe."""
    return packet(PLI, PAYLOAD_FEEDBACK, struct.pack("!II", sender, ssrc))


def remb(sender: int, bitrate_bps: int, ssrcs: Sequence[int]) -> bytes:
    """No more than this, for all these streams together; an upper bound of 18 significant bits."""
    exponent = max(0, bitrate_bps.bit_length() - 18)
    head = len(ssrcs) << 24 | exponent << 18 | bitrate_bps >> exponent
    body = struct.pack("!II4sI", sender, 0, b"REMB", head)
    return packet(APPLICATION, PAYLOAD_FEEDBACK, body + b"".join(map(_U32.pack, ssrcs)))


def nacks(sender: int, ssrc: int, sequences: Sequence[int]) -> Iterator[bytes]:
    """``nack``, in as many packets as these numbers need."""
    for start in range(0, len(sequences), NUMBERS_A_NACK):
        yield nack(sender, ssrc, sequences[start : start + NUMBERS_A_NACK])


def nack(sender: int, ssrc: int, sequences: Sequence[int]) -> bytes:
    """Ask for packets again; ``sequences`` ascend (modulo 65536)."""
    entries: list[list[int]] = []
    for sequence in sequences:
        distance = (sequence - entries[-1][0]) & 0xFFFF if entries else 0
        if entries and 1 <= distance <= 16:
            entries[-1][1] |= 1 << (distance - 1)
        else:
            entries.append([sequence, 0])
    body = struct.pack("!II", sender, ssrc)
    return packet(
        NACK, TRANSPORT_FEEDBACK, body + b"".join(struct.pack("!HH", *e) for e in entries)
    )


def receiver_report(sender: int, blocks: Sequence[ReportBlock], cname: str) -> bytes:
    """RR and SDES (RFC 3550, 6.1: a compound packet names its sender); at most 31 blocks."""
    body = _U32.pack(sender) + b"".join(_pack_block(block) for block in blocks)
    return packet(len(blocks), RECEIVER_REPORT, body) + _description(sender, cname)


def sender_report(ssrc: int, ntp: int, rtp: int, packets: int, octets: int, cname: str) -> bytes:
    """SR and SDES of one stream."""
    body = struct.pack(
        "!IQIII", ssrc, ntp, rtp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF
    )
    return packet(0, SENDER_REPORT, body) + _description(ssrc, cname)


def _pack_block(block: ReportBlock) -> bytes:
    lost = max(-0x800000, min(block.lost, 0x7FFFFF)) & 0xFFFFFF
    return struct.pack(
        "!IIIIII",
        block.ssrc,
        block.fraction_lost << 24 | lost,
        block.highest & 0xFFFFFFFF,
        block.jitter & 0xFFFFFFFF,
        block.last_sr,
        block.delay_since_last_sr & 0xFFFFFFFF,
    )


def _description(ssrc: int, cname: str) -> bytes:
    name = cname.encode()[:255]
    item = bytes([1, len(name)]) + name
    item += bytes(4 - len(item) % 4)  # at least one null ends the list
    return packet(1, SOURCE_DESCRIPTION, _U32.pack(ssrc) + item)
