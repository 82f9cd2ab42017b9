"""Figures about media at ``/metrics``, read from steering at each scrape.

What is labelled is bounded: open conferences, their sites, and a handful of kinds of line. Several
pages of one kind at one site (two displays) are one series, with the worst of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.lines import Row
from server.steering import Steering

_LINE = ("conference", "site", "way", "line")
_SITE = ("conference", "site")
_GAUGES: dict[str, tuple[str, Callable[[list[float]], float]]] = {
    "bitrate_bps": ("Media bit rate of a site's line, bit/s", sum),
    "loss_ratio": ("Share of packets lost", max),
    "rtt_seconds": ("Round trip", max),
    "estimate_bps": ("What the line carries, as estimated, bit/s", min),
    "height_pixels": ("Height of the picture sent (up) or of the stage received (down)", min),
    "silent": ("1 while nothing comes over it any more", max),
    "reduced": ("1 while the line makes pictures smaller", max),
}


class MediaCollector(Collector):
    """Of one server."""

    def __init__(self, steering: Steering) -> None:
        self._steering = steering

    def collect(self) -> Iterable[Metric]:
        """Lines, freezes, workers."""
        yield from self._lines()
        yield from self._freezes()
        yield from self._workers()

    def _lines(self) -> Iterator[Metric]:
        groups: dict[tuple[str, str, str, str], list[dict[str, float | None]]] = {}
        now_s = time.monotonic()
        for derived, lines in self._steering.all_lines():
            slugs = {site_id: slug for slug, site_id in derived.sites.items()}
            for row in lines.rows(derived, now_s):
                site = slugs.get(row.site, "") if row.site is not None else ""
                key = (derived.slug, site, row.way, row.what)
                groups.setdefault(key, []).append(_figures(row))
        for name, (about, join) in _GAUGES.items():
            family = GaugeMetricFamily(f"diemcau_line_{name}", about, labels=_LINE)
            for key, rows in groups.items():
                known = [value for row in rows if (value := row[name]) is not None]
                if known:
                    family.add_metric(key, join(known))
            yield family

    def _freezes(self) -> Iterator[Metric]:
        count = CounterMetricFamily(
            "diemcau_line_freezes",
            "Times that a picture stood still, as browsers say",
            labels=_SITE,
        )
        seconds = CounterMetricFamily(
            "diemcau_line_frozen_seconds", "How long pictures stood still", labels=_SITE
        )
        for derived, lines in self._steering.all_lines():
            for source, (times, ms) in lines.freezes.items():
                site = (derived.slug, source.removeprefix("site:"))
                count.add_metric(site, times)
                seconds.add_metric(site, ms / 1000)
        yield from (count, seconds)

    def _workers(self) -> Iterator[Metric]:
        cpu = GaugeMetricFamily(
            "diemcau_media_worker_cpu_ratio", "Share of a core that it takes", labels=["worker"]
        )
        packets = CounterMetricFamily(
            "diemcau_media_worker_packets",
            "Packets received of publishers and sent to receivers",
            labels=["worker", "way"],
        )
        for index, load in enumerate(self._steering.loads):
            if load is not None:
                cpu.add_metric([str(index)], load.cpu)
                packets.add_metric([str(index), "up"], load.packets_received)
                packets.add_metric([str(index), "down"], load.packets_sent)
        yield from (cpu, packets)


def _figures(row: Row) -> dict[str, Any]:
    return {
        "bitrate_bps": row.bitrate_bps,
        "loss_ratio": row.loss,
        "rtt_seconds": row.rtt_ms / 1000 if row.rtt_ms is not None else None,
        "estimate_bps": row.carries_bps,
        "height_pixels": row.height_px,
        "silent": int(row.silent),
        "reduced": int(row.reduced),
    }
