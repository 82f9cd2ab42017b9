"""The supervisor: holds the listening sockets, starts the children, starts them again.

It owns the HTTP socket and each worker's UDP and TCP sockets, so that a child that dies is
replaced on the same ports and clients only see a pause. Children end with it
(``PR_SET_PDEATHSIG``); how they stand is in ``children.json`` of the runtime folder, which
``/healthz`` of the web child reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from server import listening, temporary
from server.config import Config, is_loopback
from server.parents import end_with_parent
from server.reasons import why

log = structlog.get_logger("supervisor")

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0
STEADY_AFTER_S = 10.0
"""A child that ran this long is started again at once."""
_PORT_ATTEMPTS = 50
_HTTP = ("--port", "--host")
"""what chooses a socket's port and address"""
_MEDIA = ("--media-port", "DIEMCAU_MEDIA_HOST")


class PortInUse(Exception):
    """The port cannot be had. The text is for the person who starts the server."""


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises: PortInUse."""
    return _bind(socket.SOCK_STREAM, host, port, _HTTP)


def listen_media(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A worker's UDP and TCP sockets on one number; 0 picks a free one. Raises: PortInUse."""
    for _ in range(_PORT_ATTEMPTS):
        udp = _bind(socket.SOCK_DGRAM, host, port, _MEDIA)
        try:
            return udp, _bind(socket.SOCK_STREAM, host, udp.getsockname()[1], _MEDIA)
        except PortInUse:
            udp.close()
            if port:
                raise
    raise PortInUse("Không tìm được cổng media còn trống.")


def _bind(kind: socket.SocketKind, host: str, port: int, options: tuple[str, str]) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, kind)
    try:
        if family is socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # "::" takes IPv4 too
        if kind is socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        if kind is socket.SOCK_STREAM:
            listening.make_room(bound)
    except OSError as error:
        bound.close()
        name = "UDP" if kind is socket.SOCK_DGRAM else "TCP"
        at = f"cổng {name} {port} trên {host or 'mọi địa chỉ của máy'}"
        raise PortInUse(f"Không mở được {at}: {why(error)}. {_advice(error, options)}") from None
    bound.setblocking(False)
    return bound


def _advice(error: OSError, options: tuple[str, str]) -> str:
    option, address = options
    if error.errno == errno.EADDRINUSE:
        return f"Hãy dừng chương trình đó, hoặc chọn cổng khác bằng {option}."
    if error.errno == errno.EACCES:
        return f"Cổng dưới 1024 cần quyền quản trị; hãy chọn cổng khác bằng {option}."
    return f"Hãy chọn địa chỉ khác bằng {address}."


def announced_addresses(config: Config) -> tuple[str, ...]:
    """What candidates announce: MEDIA_ADDRESSES, else what this machine can be reached by."""
    if config.media_addresses:
        return config.media_addresses
    host = config.media_listens_on
    if is_loopback(host):
        return ("127.0.0.1",)
    if host not in ("", "0.0.0.0", "::"):
        return (host,)
    found = [_route(socket.AF_INET, "192.0.2.1")]  # TEST-NET-1 (RFC 5737)
    if host == "::":
        found.append(_route(socket.AF_INET6, "2001:db8::1"))  # documentation (RFC 3849)
    return tuple(dict.fromkeys([*filter(None, found), "127.0.0.1"]))


def _route(family: socket.AddressFamily, towards: str) -> str | None:
    """Our address on the way ``towards``; None where there is no way. Sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((towards, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _apart(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        os.setpgrp()  # a terminal's Ctrl-C reaches the supervisor alone, which ends us in order
        end_with_parent(parent)

    return prepare


def _take_descriptors() -> None:
    """As many open files as this process may have, for the children too: one for each client."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass
class Child:
    """One process that is kept running until ``stop``."""

    name: str
    arguments: Sequence[str]
    descriptors: Sequence[int] = ()
    environment: dict[str, str] = field(default_factory=dict)
    changed: Callable[[], None] = lambda: None
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None
    _stopping: bool = False
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep it running."""
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self, timeout_s: float) -> None:
        """SIGTERM, then SIGKILL after ``timeout_s``; returns when it is gone."""
        self._stopping = True
        if self._task is None:
            return
        if self.process is None or self.process.returncode is not None:
            self._task.cancel()
        else:
            self.process.terminate()
        done, _ = await asyncio.wait({self._task}, timeout=timeout_s)
        if not done and self.process is not None:
            log.warning("child does not end, killed", child=self.name)
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while not self._stopping:
            began = time.monotonic()
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),  # standard output belongs to the command's own answer
                pass_fds=tuple(self.descriptors),
                env=os.environ | self.environment,
                preexec_fn=_apart(os.getpid()),
            )
            if self._stopping:
                self.process.terminate()
            log.info("child started", child=self.name, pid=self.process.pid)
            self.changed()
            code = await self.process.wait()
            if self._stopping:
                break
            self.restarts += 1
            self.changed()
            if time.monotonic() - began >= STEADY_AFTER_S:
                backoff_s = BACKOFF_FIRST_S
            log.warning("child ended, starts again", child=self.name, code=code, in_s=backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    def report(self) -> dict[str, object]:
        """How it stands, for ``children.json``."""
        running = self.process is not None and self.process.returncode is None
        pid = self.process.pid if running and self.process else None
        return {"running": running, "pid": pid, "restarts": self.restarts}


class Supervisor:
    """Sockets and children of one server.

    ``bind`` takes the ports, ``start`` begins to serve, ``base_url`` is then known, ``stop`` ends
    all in order: web first (nothing new comes in), then workers, then recorders (which finish
    their files).
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.base_url = ""
        self.children: list[Child] = []
        self._sockets: list[socket.socket] = []
        self._http: socket.socket | None = None
        self._media: list[tuple[socket.socket, socket.socket]] = []
        self._runtime: Path | None = None

    @property
    def runtime(self) -> Path:
        """The folder of control sockets and ``children.json``. Only while started."""
        assert self._runtime is not None
        return self._runtime

    def bind(self) -> None:
        """Take every port. Raises: PortInUse, with none taken."""
        config = self.config
        try:
            self._http = self._hold(listen_tcp(config.host, config.port))
            for index in range(config.workers):
                port = config.media_port + index if config.media_port else 0
                udp, tcp = listen_media(config.media_listens_on, port)
                self._media.append((self._hold(udp), self._hold(tcp)))
        except PortInUse:
            self._close_sockets()
            raise

    async def start(self) -> None:
        """Start every child; ``bind`` came first."""
        assert self._http is not None
        _take_descriptors()
        self.base_url = self.config.base_url(self._http.getsockname()[1])
        self._runtime = temporary.make()
        for index, (udp, tcp) in enumerate(self._media):
            self._add(
                f"recorder-{index}", "server.recorder", "--listen", self._path("recorder", index)
            )
            self._add(f"worker-{index}", *self._worker(index, udp, tcp), holds=(udp, tcp))
        self._add("web", *self._web(self._http), holds=(self._http,))
        for child in self.children:
            child.start()

    def keep(self, name: str, *arguments: str) -> None:
        """Keep one more process running beside the server's own: ``python -m arguments``."""
        self._add(name, *arguments)
        self.children[-1].start()

    async def stop(self) -> None:
        """End the children in order and give the sockets back."""
        kinds = ("web", "worker", "recorder")
        guests = {child.name for child in self.children if not child.name.startswith(kinds)}
        for kind in (*guests, *kinds):
            ending = [child for child in self.children if child.name.startswith(kind)]
            timeout_s = self.config.shutdown_timeout_s
            await asyncio.gather(*(child.stop(timeout_s) for child in ending))
        self.children.clear()
        self._close_sockets()
        if self._runtime is not None:
            temporary.remove(self._runtime)
            self._runtime = None

    def _hold(self, bound: socket.socket) -> socket.socket:
        self._sockets.append(bound)
        return bound

    def _close_sockets(self) -> None:
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()
        self._media.clear()
        self._http = None

    def _path(self, kind: str, index: int) -> str:
        return str(self.runtime / f"{kind}-{index}.sock")

    def _worker(self, index: int, udp: socket.socket, tcp: socket.socket) -> list[str]:
        arguments = ["server.media.worker", "--index", str(index)]
        arguments += ["--udp-fd", str(udp.fileno()), "--tcp-fd", str(tcp.fileno())]
        arguments += ["--control", self._path("worker", index)]
        for each in range(len(self._media)):
            arguments += ["--recorder", self._path("recorder", each)]
        arguments += ["--media-port", str(udp.getsockname()[1])]
        return arguments + ["--address", ",".join(announced_addresses(self.config))]

    def _web(self, http: socket.socket) -> list[str]:
        return ["server.app", "--http-fd", str(http.fileno()), "--runtime", str(self.runtime)]

    def _add(self, name: str, *arguments: str, holds: Sequence[socket.socket] = ()) -> None:
        child = Child(
            name,
            ("-m", *arguments),
            [bound.fileno() for bound in holds],
            self.config.environment(),
            self._report,
        )
        self.children.append(child)

    def _report(self) -> None:
        """Write ``children.json`` anew, whole at every moment."""
        path = self.runtime / "children.json"
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps({child.name: child.report() for child in self.children}))
        unfinished.replace(path)


async def run(supervisor: Supervisor, ready: Callable[[Supervisor], None] = lambda _: None) -> None:
    """Serve with what ``supervisor`` has bound, until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        await supervisor.start()
        ready(supervisor)
        await stopped.wait()
        log.info("shutting down")
    finally:
        await supervisor.stop()
