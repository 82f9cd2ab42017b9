"""The media worker: a process that forwards packets. Desired state in, reports out.

``python -m server.media.worker --index 0 --udp-fd 5 --control … --recorder … --address …``.
Sockets are the supervisor's, so that a worker that is started again keeps its port; without them
it binds ``--media-port`` itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from server import garbage
from server.media import messages, tcp
from server.media.beat import Beat
from server.media.binding import Binding, host_of
from server.media.control import ControlServer
from server.media.ice import IceLite
from server.media.load import LoadMeter
from server.media.messages import SILENCE_S
from server.media.peer import finish_closing, make_certificate
from server.media.recorders import Recorders
from server.media.recording import Feed
from server.media.resting import Resting
from server.media.router import Conference, Session
from server.media.sessions import Negotiator, Refusal

log = logging.getLogger(__name__)

TICK_S = 0.1
SECOND = 10
"""ticks"""
MAX_UNTOLD = 200
"""packets that are in no books yet: with more of them those are kept at every beat, so that there is room"""
REST_AFTER = 3 * SECOND
"""ticks without a session, by which all is told of the last one; from then on a tick is a second, until
web says something"""
YOUNG, OLDER = 50_000, 5
"""for garbage.collect_seldom: packets come and go without cycles, sessions leave some behind"""
MAX_NAMED = 8
"""sessions named in a line of the log"""
HUNG_S = 20.0
"""a worker whose loop stands still for so long ends, with a traceback, and is started again"""
SOCKET_BUFFER_BYTES = 4 << 20
Reply = Callable[[msgspec.Struct], None]
Request = (
    messages.Publish
    | messages.Receive
    | messages.Accept
    | messages.Watch
    | messages.Restart
    | messages.Describe
    | messages.Close
    | messages.View
    | messages.Expect
)


class Worker:
    """Conferences over one UDP socket and the TCP listener of the same number."""

    def __init__(
        self,
        sock: socket.socket,
        listener: socket.socket,
        control: Path,
        recorders: Sequence[Path],
        addresses: Sequence[str],
        silence_s: float = SILENCE_S,
        selector: Resting | None = None,
    ) -> None:
        """``selector``: the loop's, where that is one that rests."""
        self._silence_s = silence_s
        self._ice = IceLite(sock)
        if selector is not None:
            ice = self._ice
            selector.attend(sock.fileno(), ice.look, lambda: ice.behind, ice.rest)
        self._tcp = tcp.Listener(
            listener,
            self._ice.datagram,
            self._ice.lost,
            partial(self._ice.refusals.refuse, "connection"),
        )
        self._ice.find_by_ssrc = self._find_by_ssrc
        certificate, fingerprint = make_certificate()
        port = sock.getsockname()[1]
        self._negotiator = Negotiator(
            self._ice, certificate, fingerprint, tuple((host, port) for host in addresses)
        )
        self._control = ControlServer(control, self._web_connected, self._message)
        self._recorders = Recorders(recorders, self._recorder_connected, self._recorder_says)
        self._load = LoadMeter()
        self._stirred = asyncio.Event()
        """web has said something since it was quiet"""
        self._beat = Beat()
        self._ice.on_read = self._beat.awake
        self._ice.due_s = lambda: self._beat.due_s
        self._conferences: dict[str, Conference] = {}
        self._finishing: dict[str, tuple[messages.Record, messages.Finish]] = {}
        """recordings whose end the recorder has not confirmed yet"""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``."""
        loop = asyncio.get_running_loop()
        self._ice.start(loop)
        await self._tcp.start()
        await self._control.start()
        self._recorders.start()
        ticker = loop.create_task(self._tick())
        log.info("media worker ready port=%d", self._ice.socket.getsockname()[1])
        try:
            waiter = loop.create_task(stop.wait())
            await asyncio.wait([waiter, ticker], return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
            if ticker.done():
                ticker.result()
        finally:
            ticker.cancel()
            faulthandler.cancel_dump_traceback_later()
            await self._stop()

    async def _stop(self) -> None:
        for conference in self._conferences.values():
            for session in conference.sessions():
                session.peer.close()
        await finish_closing()
        await self._recorders.stop()
        await self._control.stop()
        self._tcp.stop()
        self._ice.stop(asyncio.get_running_loop())

    async def _tick(self) -> None:
        """All that happens by time; one timer, so that idle sessions cost nothing."""
        beat = lively = 0
        lines_at_s = time.monotonic()
        while True:
            if any(conference.lively for conference in self._conferences.values()):
                lively = beat
            if beat - lively < REST_AFTER or beat % SECOND:
                await self._beat.pause(TICK_S)
                beat += 1
            elif await self._rests():
                beat += SECOND
            else:
                lively = beat
                continue
            now_s = time.monotonic()
            conferences = list(self._conferences.values())
            if books := beat % 2 == 0 or beat % 5 == 0 or not self._calm(conferences):
                self._ice.catch_up()
            for conference in conferences:
                try:
                    if books:
                        conference.tick(now_s)
                    conference.send_feedback()
                    if books:
                        conference.follow_lines(now_s)
                    conference.send_changes(now_s)
                    if beat % 2 == 0:
                        conference.listen(now_s)
                        conference.send_published(now_s)
                    if beat % 5 == 0:
                        conference.choose_layers(now_s)
                    if beat % SECOND == 0:
                        conference.send_reports(now_s)
                    if beat % (2 * SECOND) == 0:
                        conference.send_lines(now_s - lines_at_s)
                except Exception:  # one conference must never stop the others
                    log.exception("tick failed conference=%s", conference.slug)
            if beat % SECOND == 0:
                self._tcp.tick(now_s, lambda host: bool(self._sessions_at(host)))
                self._ice.refusals.tick(now_s, self._sessions_at)
            if beat % (2 * SECOND) == 0:
                faulthandler.dump_traceback_later(HUNG_S, exit=True)
                lines_at_s = now_s
                self._control.send(self._load.measure(self._conferences.values()))

    def _calm(self, conferences: Sequence[Conference]) -> bool:
        """May the books wait for the next beat? Half of what they cost is beginning with cold caches."""
        return self._ice.untold < MAX_UNTOLD and all(each.calm for each in conferences)

    async def _rests(self) -> bool:
        """A second, in which nobody sends or receives; False as soon as web says something: sessions
        begin by that."""
        self._stirred.clear()
        try:
            async with asyncio.timeout(SECOND * TICK_S):
                await self._stirred.wait()
        except TimeoutError:
            return True
        return False

    # Web.

    def _web_connected(self, send: Reply) -> None:
        """Tell a web process that has just come that we live, and how things are."""
        now_s = time.monotonic()
        send(self._load.measure(self._conferences.values()))
        for conference in self._conferences.values():
            conference.introduce(now_s, send)

    def _message(self, message: messages.ToWorker, reply: Reply) -> None:
        self._stirred.set()
        self._ice.catch_up()
        if isinstance(message, messages.Desired | messages.Forget):
            try:
                self._steer(message)
            except Exception:  # the connection serves all conferences
                log.exception("not done as desired conference=%s", message.conference)
        else:
            self._request(message, reply)

    def _steer(self, message: messages.Desired | messages.Forget) -> None:
        if isinstance(message, messages.Desired):
            conference = self._conference(message.conference)
            conference.apply(message)
            conference.tick(
                time.monotonic()
            )  # the keyframe of a cut is not to wait for the next one
            return
        ended = self._conferences.pop(message.conference, None)
        if ended is not None:
            ended.forget(moved=message.moved)

    def _conference(self, slug: str) -> Conference:
        conference = self._conferences.get(slug)
        if conference is None:
            conference = Conference(
                slug, self._control.send, self._recorders.send, self._finish, self._silence_s
            )
            self._conferences[slug] = conference
        return conference

    def _request(self, request: Request, reply: Reply) -> None:
        try:
            session, text = self._do(request)
        except Refusal as refusal:
            reply(messages.Refused(request.request, refusal.code, refusal.about))
        except Exception:  # a description that finds a fault of ours must not end the process
            log.exception("request failed kind=%s", type(request).__name__)
            reply(messages.Refused(request.request, "invalid"))
        else:
            reply(messages.Answered(request.request, session, text))

    def _do(self, request: Request) -> tuple[str, str]:
        if isinstance(
            request, messages.Publish | messages.Receive | messages.Watch | messages.Expect
        ):
            conference = self._conferences.get(request.conference)
            if conference is None:
                raise Refusal("not_found")
            if isinstance(request, messages.Expect):
                if not conference.grant(request.holder).direct:
                    raise Refusal("forbidden")
                conference.expect(request.sources)
                return "", ""
            if isinstance(request, messages.Publish):
                return self._negotiator.publish(conference, request)
            if isinstance(request, messages.Watch):
                return self._negotiator.watch(conference, request)
            return self._negotiator.receive(conference, request)
        found = self._find(request.session)
        if isinstance(request, messages.Close):
            if found is not None:
                self._own(found[1], request.holder)
                found[0].close(found[1], None)
            return request.session, ""
        if found is None:
            raise Refusal("not_found")
        conference, session = found
        self._own(session, request.holder)
        if isinstance(request, messages.View):
            conference.view(session, request.heights_px)
            return request.session, ""
        if isinstance(request, messages.Describe):
            return request.session, self._negotiator.describe(session)
        if isinstance(request, messages.Accept):
            self._negotiator.accept(conference, session, request.sdp)
            return request.session, ""
        return request.session, self._negotiator.restart(session, request.sdp)

    @staticmethod
    def _own(session: Session, holder: str) -> None:
        if session.holder != holder:
            raise Refusal("forbidden")

    def _find(self, name: str) -> tuple[Conference, Session] | None:
        for conference in self._conferences.values():
            session = conference.find(name)
            if session is not None:
                return conference, session
        return None

    def _find_by_ssrc(self, ssrc: int) -> Iterator[Binding]:
        """Whoever claims it: nothing keeps two publishers from claiming the same."""
        for conference in self._conferences.values():
            for publication in conference.publications.values():
                if ssrc in publication.streams.ssrcs:
                    yield publication.peer.binding

    def _sessions_at(self, host: str) -> str:
        """The sessions at an address, for the log: ``conference/holder``."""
        found = {
            f"{conference.slug}/{session.holder}"
            for conference in self._conferences.values()
            for session in conference.sessions()
            if any(host_of(path) == host for path in session.peer.binding.paths)
        }
        return " ".join(sorted(found)[:MAX_NAMED])

    # Recorder.

    def _finish(self, feed: Feed) -> None:
        finish = feed.finish()
        self._finishing[finish.recording] = (messages.Record(feed.recording), finish)
        self._recorders.send(finish)

    def _recorder_connected(self, is_its: Callable[[str], bool]) -> None:
        for recording, (record, finish) in self._finishing.items():
            if is_its(recording):
                self._recorders.send(record)
                self._recorders.send(finish)
        for conference in self._conferences.values():
            if conference.feed is not None and is_its(conference.feed.recording.id):
                conference.feed.announce()

    def _recorder_says(self, message: messages.FromRecorder) -> None:
        if isinstance(message, messages.Keyframe):
            for conference in self._conferences.values():
                feed = conference.feed
                if feed is not None and feed.recording.id == message.recording:
                    feed.wants_keyframe(message.source)
            return
        if message.state == "ended":
            self._finishing.pop(message.recording, None)
        self._control.send(message)


def _sockets(
    udp_fd: int | None, tcp_fd: int | None, port: int
) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP: the supervisor's, else our own on one number."""
    if udp_fd is not None and tcp_fd is not None:
        sock, listener = socket.socket(fileno=udp_fd), socket.socket(fileno=tcp_fd)
    else:
        sock, listener = _bound(port)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    return sock, listener


def _bound(port: int) -> tuple[socket.socket, socket.socket]:
    listener = socket.create_server(("0.0.0.0", port))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", listener.getsockname()[1]))
    return sock, listener


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="server.media.worker", description=__doc__)
    parser.add_argument("--index", type=int, default=0, help="number of this worker, for logs")
    parser.add_argument("--udp-fd", type=int, help="inherited UDP socket")
    parser.add_argument("--tcp-fd", type=int, help="inherited TCP listener")
    parser.add_argument("--control", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument(
        "--recorder",
        type=Path,
        action="append",
        required=True,
        help="a recorder's Unix socket; all of them, in the same order for every worker",
    )
    parser.add_argument("--address", required=True, help="comma-separated IPs for candidates")
    parser.add_argument("--media-port", type=int, default=0, help="port without inherited sockets")
    parser.add_argument(
        "--silence-s", type=float, default=SILENCE_S, help="a peer that is silent so long is gone"
    )
    return parser.parse_args(argv)


async def run(
    *,
    control: Path,
    recorders: Sequence[Path],
    addresses: Sequence[str],
    udp_fd: int | None = None,
    tcp_fd: int | None = None,
    media_port: int = 0,
    silence_s: float = SILENCE_S,
    selector: Resting | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sock, listener = _sockets(udp_fd, tcp_fd, media_port)
    with contextlib.closing(sock), contextlib.closing(listener):
        worker = Worker(sock, listener, control, recorders, addresses, silence_s, selector)
        await worker.run(stop)


def main(argv: Sequence[str] | None = None) -> int:
    """The process; returns its exit status."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(levelname)s media[{arguments.index}] %(name)s: %(message)s",
    )
    garbage.collect_seldom(YOUNG, OLDER)
    addresses = [a.strip() for a in arguments.address.split(",") if a.strip()]
    selector = Resting()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(
            run(
                control=arguments.control,
                recorders=arguments.recorder,
                addresses=addresses,
                udp_fd=arguments.udp_fd,
                tcp_fd=arguments.tcp_fd,
                media_port=arguments.media_port,
                silence_s=arguments.silence_s,
                selector=selector,
            )
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
