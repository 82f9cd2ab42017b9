"""``/healthz`` and ``/metrics``: whether this server can serve, and figures about it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import shutil
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text
from sqlalchemy.orm import Session

from server.db.engine import sqlite_file
from server.errors import N_, Forbidden
from server.web.forwarded import address_of
from server.web.media_metrics import MediaCollector
from server.web.site import Site, site_of

log = structlog.get_logger("health")

PATIENCE_S = 3.0
SILENT = "the database does not answer"
READS_ALONE = "the database does not take what is written"
FULL = "the disk of the database is full"
LEAST_BYTES = 1_000_000
"""A transaction and its journal find room in it."""
WORKERS = Gauge("diemcau_media_workers_connected", "Media workers that web is connected to")
RESTARTS = Gauge("diemcau_child_restarts", "Times a child was started again", ["child"])
RECORDERS = Gauge("diemcau_recorders_running", "Recorders that run")
FREE = Gauge("diemcau_recordings_free_bytes", "Room on the disk of the recordings")
WAITING = Gauge("diemcau_inbox_waiting", "Commands that wait for the writer")
_INSIDE = N_("Số đo của máy chủ chỉ xem được từ mạng trong METRICS_NETWORKS.")


def _ask(session: Session) -> None:
    session.execute(text("select 1"))


async def _database(site: Site) -> str | None:
    """None, or what is wrong."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await site.database.read(_ask)
    except Exception as error:
        log.warning("database does not answer", error=repr(error.__cause__ or error))
        return SILENT
    file = sqlite_file(site.config.database_url)
    left = None if file is None else await asyncio.to_thread(free_bytes, file.parent)
    if left is not None and left < LEAST_BYTES:
        return FULL
    return None if await site.inbox.takes(PATIENCE_S) else READS_ALONE


def children_of(runtime: str | None) -> dict[str, dict[str, Any]]:
    """What the supervisor last wrote about its children; empty without a supervisor."""
    if runtime is None:
        return {}
    try:
        written: dict[str, dict[str, Any]] = json.loads(
            (Path(runtime) / "children.json").read_text()
        )
    except (OSError, ValueError):
        return {}
    return written


def free_bytes(folder: Path) -> int | None:
    """What is left on the disk of ``folder``, which may not have been made yet; None: unknown."""
    try:
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        return shutil.disk_usage(existing).free
    except OSError:
        return None


async def check(site: Site) -> tuple[dict[str, Any], list[str]]:
    """The parts and how they stand; and the reasons why this server cannot serve."""
    children = children_of(site.runtime)
    reasons = []
    if wrong := await _database(site):
        reasons.append(wrong)
    if (site.config.data_dir / "preparing").exists():
        reasons.append("the server is being prepared")
    workers = site.signalling.steering.standing()
    reasons += [f"media worker {i} is not connected" for i, up in enumerate(workers) if not up]
    recorders = {n: c for n, c in children.items() if n.startswith("recorder")}
    reasons += [f"{name} does not run" for name, child in recorders.items() if not child["running"]]
    parts = {
        "database": "ok" if wrong is None else wrong,
        "workers": ["ok" if up else "not connected" for up in workers],
        "recorders": ["ok" if c["running"] else "not running" for c in recorders.values()],
    }
    return parts, reasons


async def healthz(request: web.Request) -> web.Response:
    """200 when it can serve, 503 with the reasons when not."""
    parts, reasons = await check(site_of(request))
    body: dict[str, Any] = {"status": "unavailable" if reasons else "ok", **parts}
    if reasons:
        body["reason"] = "; ".join(reasons)
    headers = {"Cache-Control": "no-store"}
    return web.json_response(body, status=503 if reasons else 200, headers=headers)


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text, for METRICS_NETWORKS alone. It names conferences and sites, no person.

    Raises: Forbidden.
    """
    site = site_of(request)
    client = address_of(request.remote or "")
    inside = map(ipaddress.ip_network, site.config.metrics_networks)
    if client is None or not any(client in network for network in inside):
        raise Forbidden(_INSIDE)
    WORKERS.set(sum(site.signalling.steering.standing()))
    WAITING.set(site.inbox.waiting)
    free = await asyncio.to_thread(free_bytes, site.config.recordings_dir)
    FREE.set(math.nan if free is None else free)
    children = children_of(site.runtime)
    RECORDERS.set(sum(c["running"] for n, c in children.items() if n.startswith("recorder")))
    for name, child in children.items():
        RESTARTS.labels(name).set(child["restarts"])
    media = CollectorRegistry()
    media.register(MediaCollector(site.signalling.steering))
    body = generate_latest() + generate_latest(media)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


routes = [web.get("/healthz", healthz), web.get("/metrics", metrics)]
