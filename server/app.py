"""The web process: composition root. The supervisor starts it as ``python -m server.app``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from aiohttp import web

from server import config as configuration
from server import garbage, listening, logs
from server.config import Config
from server.db.engine import Database
from server.https import tls_context
from server.inbox import Inbox
from server.live.gateway import Gateway, make_server
from server.live.ticker import Ticker
from server.signalling import Signalling
from server.steering import Steering
from server.web import (
    admin,
    entry,
    entry_codes,
    entry_links,
    forwarded,
    health,
    middleware,
    organiser,
    pages,
    replay,
    sign_in,
    static,
    whip,
)
from server.web.rates import Rates
from server.web.site import SITE, Site
from server.web.vitals import Vitals

YOUNG, OLDER = 50_000, 20
"""New objects until garbage.collect_seldom looks at the youngest: some 5 MB. A burst of commands makes
thousands of them that live until it is answered, and would be looked at again and again."""

log = structlog.get_logger("app")

GATEWAY = web.AppKey("gateway", Gateway)
FORM_OVERHEAD_BYTES = 1 << 20
IDLE_S = 130.0
"""A connection that has asked nothing whole for so long is closed. Longer than proxies keep theirs
(Caddy 120 s, nginx 60 s), so that none sends a request into a line that we close."""


def build(
    config: Config,
    controls: list[str],
    *,
    runtime: str | None = None,
    rates: Rates | None = None,
) -> web.Application:
    """The application with all its parts; they start and stop with it.

    ``controls`` are the media workers' control sockets. The database must be migrated.
    """
    database = Database(config.database_url)
    inbox = Inbox(database)
    steering = Steering(database, controls, config.recordings_dir)
    signalling = Signalling(config, steering)
    site = Site(config, database, inbox, signalling, runtime=runtime)
    app = web.Application(
        client_max_size=config.upload_limit_bytes + FORM_OVERHEAD_BYTES,
        middlewares=[
            forwarded.forwarded(config.trusted_proxies),
            middleware.headers,
            middleware.visitor,
            middleware.errors,
            middleware.forms(rates or Rates()),
        ],
    )
    app[SITE] = site
    vitals = app[admin.VITALS] = Vitals()
    for module in (
        entry,
        sign_in,
        entry_links,
        entry_codes,
        pages,
        static,
        whip,
        replay,
        health,
        organiser,
        admin,
    ):
        app.add_routes(module.routes)
    sockets = make_server()
    sockets.attach(app)
    gateway = Gateway(sockets, inbox, database, signalling, site.languages, config.public_url)
    app[GATEWAY] = gateway
    ticker = Ticker(inbox, database, gateway)

    async def running(_app: web.Application) -> AsyncIterator[None]:
        inbox.start()
        await steering.start()
        ticker.start()
        vitals.start()
        yield
        await vitals.stop()
        await ticker.stop()
        await gateway.stop()
        await inbox.stop()
        await steering.stop()
        database.close()

    app.cleanup_ctx.append(running)
    app.on_response_prepare.append(_finish)
    return app


async def _finish(request: web.Request, response: web.StreamResponse) -> None:
    """Also responses that Socket.IO or a file makes by itself carry our headers."""
    middleware.finish_headers(request, response)


async def serve(config: Config, http: socket.socket, runtime: str) -> None:
    """Serve on ``http`` until SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    controls = [str(Path(runtime) / f"worker-{index}.sock") for index in range(config.workers)]
    app = build(config, controls, runtime=runtime)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, keepalive_timeout=IDLE_S)
    await runner.setup()
    try:
        tls = tls_context(config)
        await web.SockSite(runner, http, ssl_context=tls, backlog=listening.TAKEN_AT_ONCE).start()
        listening.make_room(http)
        garbage.collect_seldom(YOUNG, OLDER)
        log.info("serving", url=config.base_url(http.getsockname()[1]))
        await stopped.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """The child of the supervisor: sockets and folders come as arguments."""
    parser = argparse.ArgumentParser(prog="server.app")
    parser.add_argument("--http-fd", type=int, required=True, help="inherited listening socket")
    parser.add_argument("--runtime", required=True, help="folder of control sockets")
    arguments = parser.parse_args()
    config = configuration.load()
    logs.configure(config.log_format, config.log_level)
    http = socket.socket(fileno=arguments.http_fd)
    http.setblocking(False)
    asyncio.run(serve(config, http, arguments.runtime))


if __name__ == "__main__":
    main()
