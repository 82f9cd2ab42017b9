"""The last packets of one stream, to answer NACKs from. Pure."""

from __future__ import annotations

SIZE = 512
"""packets; about a second of 720p, longer than a NACK is worth"""


class History:
    """A ring by unwrapped sequence number."""

    def __init__(self, size: int = SIZE) -> None:
        self._ring: list[tuple[int, bytes] | None] = [None] * size

    def put(self, number: int, packet: bytes) -> None:
        """Keep ``packet``; an older one gives way, a late one never displaces a newer."""
        place = number % len(self._ring)
        present = self._ring[place]
        if present is None or present[0] <= number:
            self._ring[place] = (number, packet)

    def get(self, number: int) -> bytes | None:
        """The packet, if it is still kept."""
        entry = self._ring[number % len(self._ring)]
        return entry[1] if entry is not None and entry[0] == number else None
