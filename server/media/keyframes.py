"""Where a stream can be entered, and how often a keyframe may be asked for. Pure."""

from __future__ import annotations

from collections.abc import Collection

MIN_INTERVAL_S = 0.5
"""at most two requests a second and source: each costs the publisher a large frame"""
PATIENCE_S = 0.7
"""a keyframe that comes later than this after a request came by itself"""
OVERDUE_S, AGAIN_S = 10.0, 60.0
"""a keyframe that has not come for so long is told of, and how soon again"""

Bytes = bytes | memoryview

_IDR, _SPS, _STAP_A, _FU_A = 5, 7, 24, 28


class H264Entry:
    """Finds the packet at which an H.264 stream (RFC 6184, packetization mode 1) can be entered.

    That is the one with the parameter set; an IDR alone counts only while the stream has never
    shown a parameter set in band, since it could not be decoded otherwise.
    """

    def __init__(self) -> None:
        self._parameters_seen = False

    def begins(self, payload: Bytes) -> bool:
        """Can a decoder begin with this packet?"""
        if not payload:
            return False
        kind = payload[0] & 31
        if kind == _STAP_A:
            units = _aggregated(payload)
        elif kind != _FU_A:
            units = (kind,)
        elif len(payload) > 1 and payload[1] & 0x80:
            units = (payload[1] & 31,)
        else:
            return False
        if _SPS in units:
            self._parameters_seen = True
            return True
        return _IDR in units and not self._parameters_seen


def _aggregated(payload: Bytes) -> Collection[int]:
    """Types of the NAL units in a STAP-A (RFC 6184, 5.7.1)."""
    kinds = set()
    position = 1
    while position + 2 < len(payload):
        size = (payload[position] << 8) | payload[position + 1]
        kinds.add(payload[position + 2] & 31)
        position += 2 + size
    return kinds


class Vp8Entry:
    """Finds the first packet of a VP8 keyframe (RFC 7741, 4.2 and 4.3)."""

    def begins(self, payload: Bytes) -> bool:
        """Can a decoder begin with this packet?"""
        if not payload or payload[0] & 0x17 != 0x10:  # S set, partition 0
            return False
        start = vp8_payload_start(payload)
        return start is not None and payload[start] & 1 == 0


def vp8_payload_start(payload: Bytes) -> int | None:
    """Where VP8 begins after its payload descriptor (RFC 7741, 4.2); None if nowhere."""
    position = 1
    if payload and payload[0] & 0x80:  # X
        if len(payload) < 3:
            return None
        present = payload[1]
        position = 2
        if present & 0x80:  # I: 7 or 15 bits of picture id
            position += 2 if payload[position] & 0x80 else 1
        position += (1 if present & 0x40 else 0) + (1 if present & 0x30 else 0)
    return position if position < len(payload) else None


class AnyEntry:
    """Sound can be entered anywhere."""

    def begins(self, payload: Bytes) -> bool:
        """Always."""
        return True


Entry = H264Entry | Vp8Entry | AnyEntry


def entry(codec: str) -> Entry:
    """The way to find entries of ``codec`` (``H264``, ``VP8``, ``opus``)."""
    if codec == "H264":
        return H264Entry()
    return Vp8Entry() if codec == "VP8" else AnyEntry()


class Requests:
    """Joins everyone's wish for a keyframe of one stream into few requests."""

    def __init__(self) -> None:
        self._asked_at_s = float("-inf")
        self.wanted = False
        """since the last request"""
        self._unanswered_since_s: float | None = None
        self.ignored = False
        """does the publisher pay no heed? Encoders often do not"""
        self._told_at_s = float("-inf")

    def want(self) -> None:
        """Somebody needs a keyframe."""
        self.wanted = True

    def due(self, now_s: float) -> bool:
        """Ask now? If so it counts as asked."""
        if not self.wanted or now_s - self._asked_at_s < MIN_INTERVAL_S:
            return False
        self.wanted = False
        self._asked_at_s = now_s
        if self._unanswered_since_s is None:
            self._unanswered_since_s = now_s
        elif now_s - self._unanswered_since_s >= PATIENCE_S:
            self.ignored = True
        return True

    def overdue_s(self, now_s: float) -> float:
        """For how long a keyframe has been asked for in vain; 0 where that is no news."""
        since_s = self._unanswered_since_s
        if since_s is None or now_s - since_s < OVERDUE_S or now_s - self._told_at_s < AGAIN_S:
            return 0.0
        self._told_at_s = now_s
        return now_s - since_s

    def arrived(self, now_s: float) -> None:
        """A keyframe has begun; wishes from before it are fulfilled."""
        self.wanted = False
        if self._unanswered_since_s is not None:
            self.ignored = now_s - self._unanswered_since_s >= PATIENCE_S
            self._unanswered_since_s = None
