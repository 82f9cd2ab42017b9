"""How much this worker has to do, told to web: by it conferences are placed (``messages.Load``)."""

from __future__ import annotations

import time
from collections.abc import Iterable

from server.media import messages
from server.media.publication import Publication
from server.media.router import Conference


class LoadMeter:
    """Counts what the sessions count, also after they have ended."""

    def __init__(self) -> None:
        self._at_s = time.monotonic()
        self._cpu_s = time.process_time()
        self._sessions: dict[str, int] = {}
        """packets that each had counted at the last measurement"""
        self._received = self._sent = 0

    def measure(self, conferences: Iterable[Conference]) -> messages.Load:
        """Since the last call: the share of a core; since the beginning: packets."""
        now_s, cpu_s = time.monotonic(), time.process_time()
        share = (cpu_s - self._cpu_s) / max(0.1, now_s - self._at_s)
        self._at_s, self._cpu_s = now_s, cpu_s
        sessions: dict[str, int] = {}
        for session in (each for conference in conferences for each in conference.sessions()):
            packets = sessions[session.session] = session.packets
            grown = max(0, packets - self._sessions.get(session.session, 0))
            if isinstance(session, Publication):
                self._received += grown
            else:
                self._sent += grown
        self._sessions = sessions
        return messages.Load(round(share, 3), self._received, self._sent)
