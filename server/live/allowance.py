"""What is taken of one client: frames, and what they hold counted as so many frames more.

A token bucket that lets pass more than a page ever sends: all commands that its seat may give, pongs
and the like, once in a while a message of the largest kind. What comes beyond it waits in the
network, where it costs nobody else anything. A stranger has not said yet who it is.
"""

from __future__ import annotations

FRAMES_PER_S, FRAMES_BURST = 100.0, 500
STRANGER_FRAMES_PER_S, STRANGER_FRAMES_BURST = 2.0, 10
BYTES_OF_FRAME = 2560
"""So many count as a frame: 256 kB a second, 1.3 MB at once."""


class Allowance:
    """One client's, whichever way it sends."""

    __slots__ = ("trusted", "left", "_at_s")

    def __init__(self, now_s: float) -> None:
        self.trusted = False
        self.left = float(STRANGER_FRAMES_BURST)
        """frames that are taken at once, as far as is known without asking the clock: after a pause
        these and as many again; less than none where more came in one piece"""
        self._at_s = now_s

    def trust(self) -> None:
        """It is known who is there: from now on more is taken of it."""
        if not self.trusted:
            self.trusted, self.left = True, float(FRAMES_BURST)

    def wait_s(self, now_s: float) -> float:
        """0, or the seconds until the next frame is taken."""
        per_s, most = (
            (FRAMES_PER_S, FRAMES_BURST)
            if self.trusted
            else (STRANGER_FRAMES_PER_S, STRANGER_FRAMES_BURST)
        )
        self.left = min(most, self.left + (now_s - self._at_s) * per_s)
        self._at_s = now_s
        return max(0.0, (1 - self.left) / per_s)
