"""Forwarding media, side by side with Janus 1.1 (its video room, from Debian's package).

Both servers get the same load in turn: one publisher that replays a capture of Chromium (1280×720
H.264 and Opus), sixty viewers, real DTLS and SRTP, over a veth between two network namespaces; the
server has one core, the load another. Ours counts all of its processes (supervisor, web, worker,
recorder: the stage is recorded, feedback and history are on). Nothing is asserted about time.

Needs root, for the namespaces, and ``apt-get install janus``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from load import janus, servers
from load.driven import Driven
from load.endpoints import PAUSE_S
from load.servers import Processes
from sqlalchemy import select

from server import config as configuration
from server.conferences.models import Conference
from server.db.engine import Database
from server.db.schema import migrate
from server.people.links import create_link
from server.permissions import Role
from server.simulation import demo

HERE = Path(__file__).parent
CAPTURE = HERE / "captures" / "chromium-720p.json"
SERVER_ADDRESS, LOAD_ADDRESS = "10.77.0.1", "10.77.0.2"
JANUS_PORT, OUR_PORT, MEDIA_PORT = 8088, 8080, 7000
SAMPLE = 64
"""one packet in so many tells its delay"""
MOST_LOST = 0.001
RAMP = 1.25
JANUS_PATIENCE_S = 5.0
"""it does not end while it has many handles: nothing is lost by killing it"""
VIEWERS_A_TOKEN = 15
"""more posts at once with one token are slowed down (server/web/rates.py)"""
Figures = dict[str, float]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


@contextmanager
def network() -> Iterator[tuple[list[str], list[str]]]:
    """Two namespaces joined by a veth: what to put before the server's and the load's commands."""
    names = [f"diemcau-{who}-{os.getpid()}" for who in ("server", "load")]
    try:
        for name in names:
            _run("ip", "netns", "add", name)
        veths = [f"dc{who}{os.getpid()}" for who in ("s", "l")]
        _run("ip", "link", "add", veths[0], "netns", names[0], "type", "veth",
             "peer", "name", veths[1], "netns", names[1])  # fmt: skip
        for name, veth, address in zip(names, veths, (SERVER_ADDRESS, LOAD_ADDRESS), strict=True):
            inside = ["ip", "-n", name]
            _run(*inside, "address", "add", f"{address}/24", "dev", veth)
            _run(*inside, "link", "set", veth, "up")
            _run(*inside, "link", "set", "lo", "up")
        yield ["ip", "netns", "exec", names[0]], ["ip", "netns", "exec", names[1]]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


@contextmanager
def serving_janus(
    prefix: list[str], core: int, folder: Path, _options: argparse.Namespace
) -> Iterator[tuple[Processes, Any]]:
    """Janus, and the order that connects everybody to it."""
    command = [*prefix, *janus.configure(folder, SERVER_ADDRESS, JANUS_PORT)]
    process = servers.start(command, core, folder, realtime=True)
    try:
        time.sleep(2)
        base = f"http://{SERVER_ADDRESS}:{JANUS_PORT}/janus"
        yield Processes([process]), ("connect_janus", {"base": base})
    finally:
        servers.stop(process, JANUS_PATIENCE_S)


def _tokens(config: configuration.Config, slug: str, viewers: int) -> list[str]:
    """Links for viewers: one for so many as may come at once with the same."""
    now = datetime.now(UTC)
    database = Database(config.database_url)
    try:
        with database.write_session() as session, session.begin():
            conference = session.scalars(select(Conference).where(Conference.slug == slug)).one()
            until = now + timedelta(hours=1)
            return [
                create_link(session, Role.VIEWER, conference.id, now, until)[1]
                for _ in range(0, viewers, VIEWERS_A_TOKEN)
            ]
    finally:
        database.close()


def start_ours(
    prefix: list[str], core: int, folder: Path, config: configuration.Config
) -> subprocess.Popen[str]:
    """``diemcau serve``, once it does."""
    arguments = ["serve", "--host", SERVER_ADDRESS, "--port", str(OUR_PORT)]
    command = [*prefix, sys.executable, "-m", "server", *arguments, "--media-port", str(MEDIA_PORT)]
    environ = {
        "DIEMCAU_DATA_DIR": str(folder),
        "DIEMCAU_DATABASE_URL": config.database_url,
        "DIEMCAU_LOG_LEVEL": "warning",
    }
    process = servers.start(command, core, folder, realtime=True, **environ)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(3)
    return process


@contextmanager
def serving_ours(
    prefix: list[str], core: int, folder: Path, options: argparse.Namespace
) -> Iterator[tuple[Processes, Any]]:
    """``diemcau serve`` with the reference conference, live, and the order that connects."""
    config = configuration.load({}, data_dir=folder)
    migrate(config.database_url)
    plan = asyncio.run(demo.load(config, 1))
    slug, encoder = next(iter(plan.encoders.items()))
    process = start_ours(prefix, core, folder, config)
    try:
        order = {
            "base": f"http://{SERVER_ADDRESS}:{OUR_PORT}",
            "conference": plan.conference,
            "site": slug,
            "encoder": encoder,
            "tokens": _tokens(config, plan.conference, options.viewers),
        }
        yield Processes([process]), ("connect_ours", order)
    finally:
        servers.stop(process)


def play(
    served: Processes, load: Driven, options: argparse.Namespace, speed: float
) -> dict[str, Any]:
    """One replay: packets a second out, CPU a packet, losses, delays."""
    load.tell("play", capture=str(CAPTURE), seconds=options.seconds, speed=speed, warm=options.warm)
    load.hear()
    cpu_s, begin_s = served.cpu_s(), time.monotonic()
    time.sleep(options.seconds - 0.2)
    cpu_s, elapsed_s = served.cpu_s() - cpu_s, time.monotonic() - begin_s
    came = load.hear()
    rate = came["expected"] / came["seconds"]
    found = {
        "rate": rate,
        "cpu": cpu_s / (elapsed_s * came["received"] / came["seconds"]) * 1e6,
        "core": cpu_s / elapsed_s,
        "lost": 1 - came["received"] / came["expected"],
        "load": came["load"],
        "p99": came["delays_ms"][int(len(came["delays_ms"]) * 0.99)],
    }
    print(json.dumps({"speed": speed, **found}), file=sys.stderr, flush=True)
    return found


def measure(served: Processes, load: Driven, connect: Any, options: argparse.Namespace) -> Figures:
    """Everything about one server."""
    what, order = connect
    load.tell(what, viewers=options.viewers, sample=SAMPLE, **order)
    load.hear()
    capture = json.loads(CAPTURE.read_text())
    unit = options.viewers * len(capture) / (capture[-1][0] + PAUSE_S)
    found: Figures = {}
    for rate in options.rates:
        played = play(served, load, options, rate / unit)
        found[f"cpu_{rate}"] = played["cpu"]
        if rate == options.rates[0]:
            found["added_delay_p99"] = played["p99"]
    rate = options.rates[0]
    while options.ramp:
        played = play(served, load, options, rate / unit)
        if played["lost"] > MOST_LOST or played["rate"] < 0.9 * rate:
            break
        found["max_packets"] = played["rate"] / played["core"]
        found["max_rate"] = played["rate"]
        rate = round(rate * RAMP)
    return found


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=60)
    parser.add_argument("--rates", type=int, nargs="+", default=[20_000, 40_000])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--warm", type=float, default=12.0, help="until lines are known to be wide")
    parser.add_argument(
        "--no-ramp", dest="ramp", action="store_false", help="leave max_packets out"
    )
    parser.add_argument("--only", choices=("ours", "peer"), help="leave the other one out")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    found: dict[str, Figures] = {}
    with network() as (server_prefix, load_prefix):
        for name, serving in (("peer", serving_janus), ("ours", serving_ours)):
            if options.only not in (None, name):
                continue
            with servers.workplace() as folder:
                with serving(server_prefix, cores[0], folder, options) as (served, connect):
                    load = Driven(
                        "viewers.py",
                        LOAD_ADDRESS,
                        prefix=load_prefix,
                        prepare=lambda: servers.place(cores[-1], realtime=True),
                    )
                    try:
                        found[name] = measure(served, load, connect, options)
                    finally:
                        load.stop()
    report(found, options)


def report(found: dict[str, Figures], options: argparse.Namespace) -> None:
    """The lines."""
    ours, peer = (found.get(who, {}) for who in ("ours", "peer"))
    about = {
        "viewers": options.viewers,
        "peer": "Janus 1.1, videoroom",
        "ran_on": f"{platform.platform()}, {os.cpu_count()} cores",
    }

    def line(name: str, unit: str, value: float | None, other: float | None, up: bool) -> None:
        ratio = None
        if value and other:
            ratio = other / value if up else value / other
        rounded = [None if x is None else round(x, 3) for x in (value, other, ratio)]
        row = dict(zip(("value", "peer_value", "ratio"), rounded, strict=True))
        print(json.dumps({"name": f"sfu.{name}", "unit": unit, **row, **about}), flush=True)

    pairs = [(ours.get(f"cpu_{rate}"), peer.get(f"cpu_{rate}")) for rate in options.rates]
    worst = max(pairs, key=lambda pair: (pair[0] or 0) / (pair[1] or 1))
    for rate, pair in zip(options.rates, pairs, strict=True):
        line(f"cpu_per_packet_{rate}", "µs CPU a forwarded packet", *pair, False)
    line("cpu_per_packet", "µs CPU a forwarded packet, the worse ratio", *worst, False)
    for name, unit, up in (
        ("max_packets", "packets/s a core at the last rate with under 0.1 % loss", True),
        ("max_rate", "packets/s out at that rate", True),
        ("added_delay_p99", "ms from packet in to packet out", False),
    ):
        line(name, unit, ours.get(name), peer.get(name), up)


if __name__ == "__main__":
    main()
