"""Which of its layers a publisher sends, as it says itself: the header extension
``video-layers-allocation00`` of Chromium (its name leads to the format). Pure.

It comes with the next picture of each layer that goes on, each time that the browser shares its line
among them anew: so a layer that stops is known to have at once, and not by its silence.
"""

from __future__ import annotations

from collections.abc import Set

from server.media.rtp import Bytes

NOTHING = b"\0"
"""no layer is sent"""


def sent(value: Bytes) -> Set[int] | None:
    """The places of the streams of which something is sent, in the order of their RIDs; None where it is
    malformed. What is told of rates and sizes is known otherwise, and left."""
    if not value:
        return None
    if value == NOTHING:
        return frozenset()
    streams, common = (value[0] >> 4 & 3) + 1, value[0] & 15
    if common:
        return frozenset(range(streams))
    masks = value[1:2] if streams <= 2 else value[1:3]
    if 2 * len(masks) < streams:
        return None
    nibbles = [nibble for byte in masks for nibble in (byte >> 4, byte & 15)]
    return frozenset(place for place in range(streams) if nibbles[place])
