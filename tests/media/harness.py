"""The other ends of the worker: web, the recorder, and aiortc peers that publish and receive."""

from __future__ import annotations

import array
import asyncio
import fractions
import math
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import aioice.ice
import av
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.rtcdtlstransport import RtpReceiver, RtpRouter
from aiortc.rtp import RtpPacket

from server.media import messages
from server.supervisor import listen_media

# aioice never offers the loopback interface, the only one that every machine has.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

# aiortc drops what is repeated by RTX where there are several pictures: it does not look at the MID.
route_rtp = RtpRouter.route_rtp


def route_by_mid(router: RtpRouter, packet: RtpPacket) -> RtpReceiver | None:
    """RFC 8843, 9.2."""
    return route_rtp(router, packet) or router.mid_table.get(packet.extensions.mid)


RtpRouter.route_rtp = route_by_mid  # type: ignore[method-assign]

SLUG = "hoi-nghi"
HAS_IPV6 = socket.has_dualstack_ipv6()
Message = TypeVar("Message")


async def eventually(check: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until ``check()`` is true and return it."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not (value := check()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError("it did not happen in time")
        await asyncio.sleep(0.02)
    return value


class Web:
    """What the web process is to a worker."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.connected = False
        self._number = 0
        self._revision = 0

    async def connect(self, path: Path) -> None:
        """Connect to the worker's control socket, waiting until it is there."""
        for _ in range(3000):
            try:
                self._reader, self._writer = await asyncio.open_unix_connection(path)
                break
            except OSError:
                await asyncio.sleep(0.02)
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        decoder = messages.Decoder(messages.FromWorker)
        self.connected = True
        while data := await self._reader.read(65536):
            self.received += decoder.feed(data)
        self.connected = False

    async def close(self) -> None:
        """Disconnect."""
        self._task.cancel()
        self._writer.close()

    def send(self, message: Any) -> None:
        """Send one message."""
        self._writer.write(messages.encode(message))

    def desire(self, grants: dict[str, messages.Grant], **rest: Any) -> None:
        """A new desired state."""
        self._revision += 1
        self.send(messages.Desired(SLUG, self._revision, grants, **rest))

    async def ask(self, kind: Callable[..., Any], **values: Any) -> Any:
        """Send a request and return its ``Answered`` or ``Refused``."""
        self._number += 1
        number = self._number
        self.send(kind(request=number, **values))
        return await eventually(
            lambda: next((m for m in self.received if getattr(m, "request", None) == number), None)
        )

    def last(self, kind: type[Message], **fields: Any) -> Message | None:
        """The latest message of ``kind`` with these fields."""
        for message in reversed(self.received):
            if isinstance(message, kind):
                if all(getattr(message, name) == value for name, value in fields.items()):
                    return message
        return None

    def published(self) -> tuple[messages.Publication, ...]:
        """Who publishes, as web was last told: some 250 ms late."""
        latest = self.last(messages.Published)
        return latest.publications if isinstance(latest, messages.Published) else ()


class Recorder:
    """Listens as the recorder does, and keeps what it is told."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.writer: asyncio.StreamWriter | None = None

    async def start(self, path: Path) -> None:
        """Listen on ``path``."""
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        decoder = messages.Decoder(messages.ToRecorder)
        try:
            while data := await reader.read(65536):
                for message in decoder.feed(data):
                    self.received.append(message)
        except asyncio.CancelledError:
            pass
        writer.close()

    def media(self, recording: str) -> list[messages.Media]:
        """Packets for one recording."""
        told = [m for m in self.received if isinstance(m, messages.Packets)]
        return [media for m in told if m.recording == recording for media in m.media]

    def say(self, message: Any) -> None:
        """Tell the worker."""
        assert self.writer is not None
        self.writer.write(messages.encode(message))

    async def stop(self) -> None:
        """Break the connection and stop listening."""
        self._server.close()
        if self.writer is not None:
            self.writer.close()


class Process:
    """``python -m server.media.worker``; silence is 2 s here. One serves a whole test run."""

    def __init__(self) -> None:
        # Socket paths are limited to 107 bytes: pytest's folders may be too deep.
        self._folder = tempfile.TemporaryDirectory(prefix="dc")
        self.start()

    def start(self) -> None:
        """Start it, for the first time or after ``kill``."""
        self.control = Path(self._folder.name) / "control"
        self.recorder = Path(self._folder.name) / "recorder"
        self._log = Path(self._folder.name) / "log"
        # The sockets are inherited, as from the supervisor.
        udp, tcp = listen_media("::" if HAS_IPV6 else "127.0.0.1", 0)
        fds = (udp.fileno(), tcp.fileno())
        with self._log.open("wb") as log, udp, tcp:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "server.media.worker"),
                    *("--address", "127.0.0.1,::1" if HAS_IPV6 else "127.0.0.1"),
                    *("--control", self.control, "--recorder", self.recorder, "--silence-s", "2"),
                    *("--udp-fd", str(fds[0]), "--tcp-fd", str(fds[1])),
                ],
                stdout=log,
                stderr=log,
                pass_fds=fds,
            )

    def kill(self) -> None:
        """End it without a warning."""
        self._process.kill()
        self._process.wait(30)

    def pause(self, for_s: float) -> None:
        """Stop it, and let it go on."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(for_s)
        self._process.send_signal(signal.SIGCONT)

    def verify(self) -> None:
        """It must still be there, and have met no exception that it did not expect."""
        log = self._log.read_text()
        assert self._process.poll() is None, log
        assert "Traceback" not in log, log

    def logged(self, text: str) -> str:
        """The lines of its log that hold ``text``."""
        return "\n".join(line for line in self._log.read_text().splitlines() if text in line)

    def memory_kb(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def stop(self) -> None:
        """End it; it must end in good order, and leave no socket behind."""
        self._process.terminate()
        status = self._process.wait(30)
        assert status == 0, self._log.read_text()
        assert not self.control.exists()
        self._folder.cleanup()


class WorkerProcess:
    """The worker's process with a web and a recorder of this test's own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.control = process.control
        self.recorder_path = process.recorder
        self.web = Web()
        self.recorder = Recorder()
        self.peers: list[RTCPeerConnection] = []

    async def start(self) -> None:
        """Connect."""
        self.recorder_path.unlink(missing_ok=True)
        await self.recorder.start(self.recorder_path)
        await self.web.connect(self.control)

    async def stop(self) -> None:
        """End this test's conference and disconnect."""
        await asyncio.gather(*(peer.close() for peer in self.peers))
        self.web.send(messages.Forget(SLUG))
        number = await self.web.ask(messages.Close, session="gone", holder="nobody")
        assert number.session == "gone", "the worker still answers"
        await self.web.close()
        await self.recorder.stop()
        self.process.verify()

    def peer(self) -> RTCPeerConnection:
        """A peer connection that is closed at the end."""
        # Otherwise aiortc takes a transport's candidates from the last section that shares it.
        self.peers.append(
            RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_COMPAT))
        )
        return self.peers[-1]

    async def publish(
        self, holder: str, source: str, *, shade: int = 128, tone_hz: int | None = 440,
        codec: str = "H264", line: Callable[[str], str] = str,
    ) -> messages.Answered:  # fmt: skip
        """Publish a grey picture of ``shade`` and a tone (None: silence); ``line`` changes the
        answer, so that the peer takes another line."""
        peer = self.peer()
        video = peer.addTrack(Grey(shade))
        prefer(peer, video, codec)
        peer.addTrack(Tone(tone_hz) if tone_hz else AudioStreamTrack())
        await peer.setLocalDescription(await peer.createOffer())
        answered = await self.web.ask(
            messages.Publish, conference=SLUG, holder=holder, source=source,
            sdp=peer.localDescription.sdp,
        )  # fmt: skip
        assert isinstance(answered, messages.Answered), answered
        await peer.setRemoteDescription(RTCSessionDescription(line(answered.sdp), "answer"))
        return answered

    async def receive(
        self, holder: str, wall: int = 0, *, line: Callable[[str], str] = str
    ) -> Page:
        """A page with slots; ``line`` changes the offer that it gets."""
        offered = await self.web.ask(
            messages.Receive, conference=SLUG, holder=holder, wall=wall, audio=True
        )
        assert isinstance(offered, messages.Answered), offered
        page = Page(self.peer(), offered.session)
        await page.answer(line(offered.sdp))
        accepted = await self.web.ask(
            messages.Accept, session=offered.session, holder=holder,
            sdp=page.peer.localDescription.sdp,
        )  # fmt: skip
        assert isinstance(accepted, messages.Answered), accepted
        return page


def prefer(peer: RTCPeerConnection, sender: RTCRtpSender, codec: str) -> None:
    capabilities = RTCRtpSender.getCapabilities("video")
    assert capabilities is not None
    chosen = [c for c in capabilities.codecs if c.name == codec]
    transceiver = next(t for t in peer.getTransceivers() if t.sender is sender)
    transceiver.setCodecPreferences(chosen)


class Grey(VideoStreamTrack):
    """A picture of one shade with a strip that moves, 160×120 at 15 a second."""

    def __init__(self, shade: int) -> None:
        super().__init__()
        self._shade = shade
        self._count = 0
        self._begin: float | None = None

    async def recv(self) -> av.VideoFrame:
        """The next picture."""
        loop = asyncio.get_running_loop()
        self._begin = self._begin or loop.time()
        await asyncio.sleep(max(0.0, self._begin + self._count / 15 - loop.time()))
        frame = av.VideoFrame(160, 120, "yuv420p")
        for plane, shade in zip(frame.planes, (self._shade, 128, 128), strict=True):
            image = bytearray([shade]) * plane.buffer_size
            if plane.height == 120:
                at = self._count % 150
                for row in range(8):
                    image[row * plane.line_size + at : row * plane.line_size + at + 8] = bytes(8)
            plane.update(bytes(image))
        frame.pts, frame.time_base = self._count * 6000, fractions.Fraction(1, 90000)
        self._count += 1
        return frame


class Tone(MediaStreamTrack):
    """A loud sine of ``hz``."""

    kind = "audio"

    def __init__(self, hz: int) -> None:
        super().__init__()
        self._hz = hz
        self._count = 0
        self._begin: float | None = None

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms."""
        loop = asyncio.get_running_loop()
        self._begin = self._begin or loop.time()
        await asyncio.sleep(max(0.0, self._begin + self._count / 50 - loop.time()))
        turn = 2 * math.pi * self._hz / 48000
        samples = array.array(
            "h", (round(16000 * math.sin(turn * (960 * self._count + i))) for i in range(960))
        )
        frame = av.AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts = 48000, 960 * self._count
        frame.time_base = fractions.Fraction(1, 48000)
        self._count += 1
        return frame


class Page:
    """A receiving page: what its slots show and sound like now."""

    def __init__(self, peer: RTCPeerConnection, session: str) -> None:
        self.peer = peer
        self.session = session
        self.frames: dict[str, int] = {}
        """pictures or sounds so far, by slot"""
        self.shade: dict[str, int] = {}
        self.energy: dict[str, float] = {}
        self.hz: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def answer(self, offer: str) -> None:
        """Take the offer and describe the answer."""
        await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in self.peer.getTransceivers():
            self._watch(self._pump(transceiver.mid, transceiver.receiver.track))
        await self.peer.setLocalDescription(await self.peer.createAnswer())

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _pump(self, mid: str, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except Exception:  # the end of the track
                return
            self.frames[mid] = self.frames.get(mid, 0) + 1
            if isinstance(frame, av.VideoFrame):
                plane = frame.planes[0]
                middle = frame.height // 2 * plane.line_size + frame.width // 2
                self.shade[mid] = bytes(plane)[middle]
            else:
                samples = array.array("h", bytes(frame.planes[0])[: frame.samples * 4])[::2]
                self.energy[mid] = math.sqrt(sum(x * x for x in samples) / len(samples))
                crossings = sum(a < 0 <= b for a, b in zip(samples, samples[1:], strict=False))
                self.hz[mid] = crossings * 48000 / len(samples)
