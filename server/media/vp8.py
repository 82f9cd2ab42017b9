"""The payload descriptor of VP8 (RFC 7741, 4.2): its counters go on over a switch. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Bytes = bytes | memoryview


class Counters(NamedTuple):
    """Where a descriptor has its picture id and TL0PICIDX, and what they are."""

    picture_at: int
    """0: there is none"""
    picture: int
    wide: bool
    """15 bits, not 7"""
    base_at: int
    """of TL0PICIDX; 0: there is none"""
    base: int


def counters(payload: Bytes) -> Counters | None:
    """The counters of this payload, None if it has none or is malformed."""
    if len(payload) < 3 or not payload[0] & 0x80:
        return None
    present = payload[1]
    position = 2
    picture_at = picture = base_at = base = 0
    wide = False
    if present & 0x80:
        picture_at = position
        wide = payload[position] & 0x80 != 0
        if wide:
            if len(payload) < position + 2:
                return None
            picture = (payload[position] & 0x7F) << 8 | payload[position + 1]
        else:
            picture = payload[position]
        position += 2 if wide else 1
    if present & 0x40:
        if len(payload) <= position:
            return None
        base_at, base = position, payload[position]
    if not picture_at and not base_at:
        return None
    return Counters(picture_at, picture, wide, base_at, base)


@dataclass(slots=True)
class Shift:
    """How far one part's counters are moved."""

    picture: int
    base: int


class Continuity:
    """Moves the counters of successive parts so that one outgoing stream has no jump."""

    def __init__(self) -> None:
        self._picture: int | None = None
        self._base: int | None = None

    def begin(self, payload: Bytes) -> Shift:
        """A part begins with this payload: how its counters are to be moved."""
        found = counters(payload)
        picture = base = 0
        if found is not None and found.picture_at and self._picture is not None:
            picture = self._picture + 1 - found.picture
        if found is not None and found.base_at and self._base is not None:
            base = self._base + 1 - found.base
        return Shift(picture, base)

    def moved(self, payload: Bytes, shift: Shift, *, newest: bool) -> Bytes:
        """The payload with its counters moved; ``newest``: no later packet has been sent."""
        found = counters(payload)
        if found is None:
            return payload
        mask = 0x7FFF if found.wide else 0x7F
        picture = (found.picture + shift.picture) & mask
        base = (found.base + shift.base) & 0xFF
        if newest:
            self._picture = picture if found.picture_at else self._picture
            self._base = base if found.base_at else self._base
        if picture == found.picture and base == found.base:
            return payload
        data = bytearray(payload)
        if found.picture_at and found.wide:
            data[found.picture_at] = 0x80 | picture >> 8
            data[found.picture_at + 1] = picture & 0xFF
        elif found.picture_at:
            data[found.picture_at] = picture
        if found.base_at:
            data[found.base_at] = base
        return bytes(data)
