"""How much one receiver's line carries: ``Estimator``. ``Compiled`` (``bandwidth.c``) where that was built,
else ``bandwidth.Plain``: the same numbers, and hundreds of reports a second end here.
"""

from __future__ import annotations

from typing import Any, Protocol

from server.media import bandwidth, flight, native
from server.media.flight import Flight

REASONS = ("start", "growth", "probe", "delay", "loss", "silence")


class Estimator(Protocol):
    """See the module. One for each receiving transport."""

    blind_bps: int
    """up to here it grows without probes, where there can be none"""

    @property
    def flight(self) -> Flight:
        """What is on its way."""

    @property
    def estimate_bps(self) -> int:
        """What the line carries."""

    @property
    def delivered_bps(self) -> int:
        """What arrived in the last half second."""

    @property
    def link_bps(self) -> int:
        """Where the line was last found to end."""

    @property
    def rtt_s(self) -> float:
        """The round trip, reading included."""

    @property
    def reason(self) -> str:
        """Of the last change: start, growth, probe, delay or loss; or silence, while there is any."""

    @property
    def heard(self) -> bool:
        """Has any packet been reported?"""

    @property
    def silent(self) -> bool:
        """Nothing is reported of what is sent."""

    @property
    def lost(self) -> int:
        """Packets since the beginning that are missing, of those that ..."""

    @property
    def counted(self) -> int:
        """... reports have told of."""

    @property
    def loss(self) -> float:
        """The share of packets that did not come of late, 0 to 1; 0 after a change of rate."""

    @property
    def budget_bps(self) -> int:
        """What may be sent now."""

    def send(self, size: int, now_s: float) -> int:
        """The transport-wide number (16 bits) of the packet of ``size`` bytes sent now."""

    def report(self, fci: bytes, now_s: float) -> None:
        """A report of the receiver; nothing where it is malformed."""

    def tick(self, now_s: float) -> None:
        """Every 100 or 200 ms: notice a line that has fallen silent."""

    def probe(self, wanted_bps: int, now_s: float) -> int:
        """The rate that padding has to fill up to now, in bit/s; 0: no probe.

        ``wanted_bps``: what the receiver could use. Asked for with every tick.
        """


def _number(name: str) -> Any:
    """What compiled code keeps under ``name``."""

    def get(self: Compiled) -> Any:
        return getattr(self.estimate, name)

    def put(self: Compiled, value: Any) -> None:
        setattr(self.estimate, name, value)

    return property(get, put)


class Compiled:
    """By ``bandwidth.c``. Raises: RuntimeError where that was not built."""

    estimate_bps = _number("estimate_bps")
    delivered_bps = _number("delivered_bps")
    link_bps = _number("link_bps")
    blind_bps = _number("blind_bps")
    rtt_s = _number("rtt_s")
    lost = _number("lost")
    counted = _number("counted")

    def __init__(self, now_s: float) -> None:
        library = native.library()
        if library is None:
            raise RuntimeError("bandwidth.c was not built")
        ffi, self._code = library
        self._buffer = ffi.from_buffer
        self.flight = flight.Compiled()
        self.memory = ffi.new("char[]", self._code.diemcau_estimator_bytes())
        """for ``listen.c``"""
        self.estimate: Any = self._code.diemcau_estimator_open(
            self.memory, self.flight.memory, now_s
        )
        """within ``memory``"""

    @property
    def reason(self) -> str:
        """See ``Estimator``."""
        return REASONS[self.estimate.reason]

    @property
    def heard(self) -> bool:
        """See ``Estimator``."""
        return bool(self.estimate.heard)

    @property
    def silent(self) -> bool:
        """See ``Estimator``."""
        return bool(self.estimate.silent)

    @property
    def loss(self) -> float:
        """See ``Estimator``."""
        return float(self._code.diemcau_loss(self.memory))

    @property
    def budget_bps(self) -> int:
        """See ``Estimator``."""
        return bandwidth.MIN_BPS if self.estimate.silent else int(self.estimate.estimate_bps)

    def send(self, size: int, now_s: float) -> int:
        """See ``Estimator``."""
        return self.flight.send(size, now_s)

    def report(self, fci: bytes, now_s: float) -> None:
        """See ``Estimator``."""
        data = self._buffer("uint8_t[]", fci)
        self._code.diemcau_report(self.memory, data, len(fci), now_s)

    def tick(self, now_s: float) -> None:
        """See ``Estimator``."""
        self._code.diemcau_tick(self.memory, now_s)

    def probe(self, wanted_bps: int, now_s: float) -> int:
        """See ``Estimator``."""
        return int(self._code.diemcau_probe(self.memory, wanted_bps, now_s))


def estimator(now_s: float) -> Estimator:
    """Compiled where that was built."""
    return bandwidth.Plain(now_s) if native.library() is None else Compiled(now_s)
