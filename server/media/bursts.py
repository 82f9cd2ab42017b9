"""Packets of one layer that came at once, and what is done once for all who receive them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.media import rtp

MAX_PADDING_BYTES = 4


@dataclass(slots=True)
class Packet:
    """One plain packet as it came."""

    number: int
    """unwrapped"""
    header: rtp.Header
    data: bytes
    begins: bool
    """can a decoder begin with it?"""


class Burst:
    """See the module."""

    __slots__ = (
        "highest_number",
        "highest_timestamp",
        "lowest",
        "octets",
        "packets",
        "payload_octets",
        "payloads",
        "prepared",
        "sizes",
    )

    def __init__(self, packets: Sequence[Packet]) -> None:
        self.packets = packets
        self.payloads: list[bytes] = []
        """with their padding"""
        self.sizes: list[int] = []
        self.octets = 0
        """without padding, as sender reports count them"""
        highest = packets[0]
        lowest = highest.number
        for packet in packets:
            header, number = packet.header, packet.number
            payload = packet.data[header.payload_start :]
            self.payloads.append(payload)
            self.sizes.append(len(payload))
            self.octets += header.payload_end - header.payload_start
            if number > highest.number:
                highest = packet
            elif number < lowest:
                lowest = number
        self.highest_number, self.highest_timestamp = highest.number, highest.header.timestamp
        self.lowest = lowest
        self.payload_octets = sum(self.sizes)
        self.prepared: Any = None
        """what a sender has made of it, for all receivers"""


def equalise(packets: Sequence[Packet]) -> list[Packet]:
    """Pad a frame's packets that are a byte or so smaller than the next one; those that were.

    Browsers cut a frame into packets whose sizes differ by one, and the larger ones come last. One
    send with UDP_SEGMENT takes equal ones, of which the last may be smaller.
    """
    padded: list[Packet] = []
    if len(packets) == 1:
        return padded
    later = packets[-1]
    for packet in reversed(packets[:-1]):
        missing = len(later.data) - len(packet.data)
        together = packet.header.timestamp == later.header.timestamp
        if together and 0 < missing <= MAX_PADDING_BYTES and not packet.data[0] & 0x20:
            tail = bytes(missing - 1) + bytes([missing])
            packet.data = bytes([packet.data[0] | 0x20]) + packet.data[1:] + tail
            padded.append(packet)
        later = packet
    return padded
