"""1,703 phones in one conference, side by side with Socket.IO on Node.js (which stores nothing).

The phones are one process on a core of its own; the server, with all of its processes, has the
other. Both servers get the same: joining, rest, some 300 bytes to all (of ours, what the beginning
of an agenda item tells, which is three events in one packet of 400), and one
``activity.answer`` of each at once and spread over two seconds. With ``--turns`` they take turns, and
each figure is the median of its: a virtual machine is now quick, now slow. Nothing is asserted about time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

from load import servers
from load.driven import Driven
from load.servers import Served

MOST_JOINS_PER_S = 400.0
SETTLING_S = 3.0
"""until memory is looked at"""
Figures = dict[str, float]


def figure(values: list[float], quantile: float) -> float:
    """The value below which that share of ``values`` lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * quantile))]


def measure(served: Served, crowd: Driven, options: argparse.Namespace) -> Figures:
    """Everything about one server."""
    phones, found = len(served.phones), Figures()
    time.sleep(min(SETTLING_S, options.idle))  # a server that has just started is still at it
    memory_kb, cpu_s = served.memory_kb(), served.cpu_s()
    where = {"host": "127.0.0.1", "port": served.port, "ready": served.ready}
    joined = crowd.do("connect", **where, per_s=MOST_JOINS_PER_S, phones=served.phones)
    found["join_cpu"] = (served.cpu_s() - cpu_s) / phones * 1e6
    found["join_p99"] = figure(joined["ms"], 0.99)
    found["join_all"] = joined["seconds"]
    time.sleep(min(SETTLING_S, options.idle))
    found["memory"] = max(0, served.memory_kb() - memory_kb) / phones

    cpu_s = served.cpu_s()
    time.sleep(options.idle)
    found["idle_cpu"] = (served.cpu_s() - cpu_s) / options.idle * 100

    packets = [_broadcast(served, number) for number in range(options.events)]
    cpu_s = served.cpu_s()
    fanout = crowd.do("fanout", packets=packets, marker=served.marker, pause_s=options.pause)
    found["fanout_cpu"] = (served.cpu_s() - cpu_s) / options.events / phones * 1e6
    found["fanout_p50"], found["fanout_p99"] = (figure(fanout["ms"], q) for q in (0.5, 0.99))

    number = 0
    for name, spread_s in (("burst", 0.0), ("spread", options.spread)):
        waits: list[float] = []
        cpu_s = served.cpu_s()
        for _round in range(options.rounds):
            number += 1
            payload = served.answer | {"option": number % 2}
            order = {"type": "activity.answer", "payload": payload, "spread_s": spread_s}
            waits += crowd.do("burst", round=number, **order)["ms"]
        found[f"{name}_cpu"] = (served.cpu_s() - cpu_s) / len(waits) * 1e6
        found[f"{name}_p99"] = figure(waits, 0.99)
    return found


def _broadcast(served: Served, number: int) -> str:
    """The command that makes something known to all."""
    payload = served.payloads[number % len(served.payloads)]
    return json.dumps([served.broadcast, payload, f"broadcast {number}"], separators=(",", ":"))


UNITS = {
    "fanout_cpu": "µs CPU a phone and event",
    "fanout_p50": "ms until the last phone has it, median",
    "fanout_p99": "ms until the last phone has it",
    "burst_cpu": "µs CPU an acknowledged activity.answer",
    "burst_p99": "ms, all at once",
    "spread_cpu": "µs CPU an acknowledged activity.answer, spread over 2 s",
    "spread_p99": "ms, spread over 2 s",
    "memory": "kB a connected phone",
    "join_cpu": "µs CPU a phone that joins",
    "join_p99": "ms to join",
    "join_all": "s until all have joined, at most 400 a second",
    "idle_cpu": "% of a core, all at rest",
}


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phones", type=int, default=1703)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=1, help="of each server")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds of rest")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between events")
    parser.add_argument("--spread", type=float, default=2.0, help="seconds of a spread burst")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--only", choices=("ours", "peer"), help="leave the other one out")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    server_core, crowd_core = cores[0], cores[-1]
    found: dict[str, list[Figures]] = {"peer": [], "ours": []}
    for name in ("peer", "ours") * options.turns:
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory(prefix="diemcau-bench-") as folder:
            place = Path(folder)
            serving: AbstractContextManager[Served] = (
                servers.peer(server_core, options.phones, place)
                if name == "peer"
                else servers.ours(server_core, options.phones, place, options.database)
            )
            with serving as served:
                crowd = Driven("crowd.py", prepare=lambda: os.sched_setaffinity(0, {crowd_core}))
                try:
                    found[name].append(measure(served, crowd, options))
                finally:
                    crowd.stop()
    about = {
        "phones": options.phones,
        "events": options.events,
        "rounds": options.rounds,
        "turns": options.turns,
        "database": options.database,
        "ran_on": f"{platform.platform()}, {os.cpu_count()} cores",
    }
    for name, unit in UNITS.items():
        value, peer_value = (
            median(figures[name] for figures in found[who]) if found[who] else None
            for who in ("ours", "peer")
        )
        ratio = value / peer_value if value is not None and peer_value else None
        line = {"name": f"phones.{name}", "value": _short(value), "unit": unit}
        line |= {"peer_value": _short(peer_value), "ratio": _short(ratio), **about}
        print(json.dumps(line, ensure_ascii=False), flush=True)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


if __name__ == "__main__":
    main()
