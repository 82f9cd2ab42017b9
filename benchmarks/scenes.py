"""Conferences of eleven and of sixty rooms (``--rooms``), side by side with Janus 1.1 as in ``sfu.py``.

Every room publishes, and every room's page receives the stage, its sound, and a tile of each other
room, but never its own sound or tile (``load/scenes.py`` has the details). What is told is the CPU
of all processes of a server while all see all, and ``idle``: what of it they use before anybody has
come. Ours records the stage. The servers take turns, and each figure is the median of its: at a few
thousand packets a second it is chance, as much as either server, how cold the core is.

Needs root, for the namespaces, and ``apt-get install janus``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import sfu
from load import servers
from load.driven import Driven
from load.servers import Processes
from sqlalchemy import select
from sqlalchemy.orm import Session

from server import config as configuration
from server.conferences.models import Conference, Site
from server.db.engine import Database
from server.db.schema import migrate
from server.inbox import Inbox
from server.people.accounts import Account
from server.people.links import create_link
from server.people.seats import open_seat
from server.permissions import Actor, Role
from server.protocol import AddSite
from server.simulation import demo

SMALL = sfu.CAPTURE.with_name("chromium-180p.json")
IDLE_S = 3.0
SAMPLE = 16
"""one packet in so many tells its delay"""
Figures = dict[str, Any]


async def _prepare(config: configuration.Config, count: int) -> tuple[str, list[dict[str, Any]]]:
    """The reference conference with ``count`` rooms: its slug and what each room comes with."""
    plan = await demo.load(config, 1)
    stage = next(iter(plan.encoders))
    database = Database(config.database_url)
    inbox = Inbox(database)
    inbox.start()
    try:
        conference = await inbox.transact(lambda s: s.scalars(select(Conference.id)).one())
        account = await inbox.transact(
            lambda s: s.scalars(select(Account.id).where(Account.is_organiser)).first()
        )
        organiser = Actor("bench", Role.ORGANISER, conference, account_id=account)
        present = await inbox.transact(lambda s: len(s.scalars(select(Site.id)).all()))
        for number in range(present, count):
            site = AddSite(name=f"Điểm {number}", slug=f"diem-{number}", kind="remote")
            await inbox.submit(organiser, site)
        return plan.conference, await inbox.transact(lambda s: _rooms(s, conference, stage, count))
    finally:
        await inbox.stop()
        database.close()


def _rooms(session: Session, conference: int, stage: str, count: int) -> list[dict[str, Any]]:
    """An encoder's link and a display's seat for each; the one on stage first."""
    now = datetime.now(UTC)
    sites = sorted(session.scalars(select(Site)).all(), key=lambda site: site.slug != stage)
    rooms = []
    for site in sites[:count]:
        until = now + timedelta(hours=1)
        _link, token = create_link(
            session, Role.ENCODER, conference, now, until, site_id=site.id, reusable=True
        )
        seat, secret = open_seat(session, Role.DISPLAY, conference, now, site_id=site.id)
        cookie = f"seat_{seat.id}={secret}"
        given = {"source": f"site:{site.slug}", "encoder": token, "seat": seat.id, "cookie": cookie}
        rooms.append(given)
    return rooms


@contextmanager
def serving_ours(
    prefix: list[str], core: int, folder: Path, count: int
) -> Iterator[tuple[Processes, Any]]:
    """``diemcau serve``, and the order that connects."""
    config = configuration.load({}, data_dir=folder)
    migrate(config.database_url)
    slug, rooms = asyncio.run(_prepare(config, count))
    process = sfu.start_ours(prefix, core, folder, config)
    try:
        base = f"http://{sfu.SERVER_ADDRESS}:{sfu.OUR_PORT}"
        order = {"base": base, "conference": slug, "rooms": rooms}
        yield Processes([process]), ("connect_ours", order)
    finally:
        servers.stop(process)


@contextmanager
def serving_janus(
    prefix: list[str], core: int, folder: Path, count: int
) -> Iterator[tuple[Processes, Any]]:
    """Janus, and the order that connects."""
    options = argparse.Namespace()
    with sfu.serving_janus(prefix, core, folder, options) as (served, (what, order)):
        yield served, (what, order | {"rooms": count})


def measure(served: Processes, load: Driven, connect: Any, options: argparse.Namespace) -> Figures:
    """CPU of one core, packets a second out, what was lost, streams of each page, delays in ms, and
    µs CPU a packet: a server that falls behind looks cheap."""
    begin_s, cpu_s = time.monotonic(), served.cpu_s()
    time.sleep(IDLE_S)
    idle = (served.cpu_s() - cpu_s) / (time.monotonic() - begin_s)
    what, order = connect
    load.do(what, sample=SAMPLE, **order)
    times = {"seconds": options.seconds, "warm": options.warm}
    load.tell("play", large=str(sfu.CAPTURE), small=str(SMALL), **times)
    load.hear()
    begin_s, cpu_s = time.monotonic(), served.cpu_s()
    time.sleep(options.seconds - 0.2)
    core = (served.cpu_s() - cpu_s) / (time.monotonic() - begin_s)
    came = load.hear()
    found = {
        "core": core,
        "idle": idle,
        "rate": came["received"] / came["seconds"],
        "cpu": core * came["seconds"] / came["received"] * 1e6,
        "lost": 1 - came["received"] / came["expected"],
        "repeated": came["repeated"] / came["seconds"],
        "streams": came["streams"],
        "load": came["load"],
        "p50": came["delays_ms"][len(came["delays_ms"]) // 2],
        "p99": came["delays_ms"][int(len(came["delays_ms"]) * 0.99)],
    }
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, nargs="+", default=[11, 60])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--warm", type=float, default=12.0, help="until lines are known to be wide")
    parser.add_argument("--turns", type=int, default=3, help="of each server")
    parser.add_argument("--only", choices=("ours", "peer"), help="leave the other one out")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with sfu.network() as (server_prefix, load_prefix):
        for count in options.rooms:
            found: dict[str, list[Figures]] = {}
            for name, serving in (("peer", serving_janus), ("ours", serving_ours)) * options.turns:
                if options.only not in (None, name):
                    continue
                with servers.workplace() as folder:
                    with serving(server_prefix, cores[0], folder, count) as given:
                        load = Driven(
                            "scenes.py",
                            sfu.LOAD_ADDRESS,
                            prefix=load_prefix,
                            prepare=lambda: servers.place(cores[-1], realtime=True),
                        )
                        try:
                            turn = measure(given[0], load, given[1], options)
                            found.setdefault(name, []).append(turn)
                        finally:
                            load.stop()
            report(count, options.turns, {who: middle(turns) for who, turns in found.items()})


def middle(turns: list[Figures]) -> Figures:
    """The median of each figure; streams are counted, of all turns."""
    streams = sorted({count for turn in turns for count in turn["streams"]})
    figures = (key for key in turns[0] if key != "streams")
    return {key: median(turn[key] for turn in turns) for key in figures} | {"streams": streams}


def report(count: int, turns: int, found: dict[str, Figures]) -> None:
    """The line."""
    ours, peer = found.get("ours"), found.get("peer")
    about = {
        f"{who}_{key}": round(value, 4) if isinstance(value, float) else value
        for who, each in found.items()
        for key, value in each.items()
    }
    line = {
        "name": f"sfu.scene_{count}",
        "unit": "% of a core",
        "value": round(ours["core"] * 100, 1) if ours else None,
        "peer_value": round(peer["core"] * 100, 1) if peer else None,
        "ratio": round(ours["core"] / peer["core"], 3) if ours and peer else None,
        "turns": turns,
        "peer": "Janus 1.1, videoroom",
        "ran_on": f"{platform.platform()}, {os.cpu_count()} cores",
    }
    print(json.dumps(line | about), flush=True)


if __name__ == "__main__":
    main()
