"""A VP8 source among the others: its frames go through a process of its own, alive only meanwhile.

Never waits for it: what it does not take in time is dropped up to the next keyframe, and when it dies
the picture is missing until another one has begun.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator

from server.recorder import vp8
from server.recorder.frames import Frame, VideoSource
from server.recorder.transcoder import READ_BYTES, Unpacker, pack

log = logging.getLogger(__name__)

IDLE_US = 3_000_000
"""without a packet (not shown any more, or the camera is off): the process ends"""
RESTART_US = 1_000_000
"""from its death to the next one"""
MAX_UNSENT_BYTES = 1 << 20


class Child:
    """The process. Nothing here blocks; ``dead`` once it is gone. Raises: OSError where there can be
    none now.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            module = [sys.executable, "-m", "server.recorder.transcoder"]
            arguments = [*module, "--fd", str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(
                    arguments, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        self.pid = self._process.pid
        self.dead = False
        self._socket = ours
        self._unsent = bytearray()
        self._unpacker = Unpacker()

    def send(self, frame: Frame) -> bool:
        """Hand over a frame; False where it does not keep up."""
        if len(self._unsent) > MAX_UNSENT_BYTES:
            return False
        self._unsent += pack(frame)
        self._flush()
        return True

    def receive(self) -> Iterator[Frame]:
        """What it has made by now."""
        self._flush()
        while not self.dead:
            try:
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self.dead = not data
            yield from self._unpacker.feed(data)

    def _flush(self) -> None:
        try:
            while self._unsent and not self.dead:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.dead = True

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)


class TranscodedSource(VideoSource):
    """As a source of H.264, for one that sends VP8."""

    def __init__(self, tracks: Iterable[str] = ("stage",)) -> None:
        super().__init__(tracks)
        self.child: Child | None = None
        self._heard_us = 0
        self._died_us = -RESTART_US
        self._skipping = False
        """until the next keyframe: the process did not keep up"""

    def make_assembler(self) -> vp8.Assembler:
        return vp8.Assembler()

    @property
    def waiting(self) -> bool:
        """It cannot go on without a keyframe."""
        return super().waiting or self._skipping or self.child is None

    def take(self, now_us: int) -> None:
        """Hand over what is in order, and take what is ready."""
        for frame in self.ready(now_us):
            self._heard_us = frame.time_us
            self._hand_over(frame, now_us)
        if self.child is None:
            return
        for frame in self.child.receive():
            self.queue(frame)
        if self.child.dead:
            log.warning("transcoder ended pid=%d: the picture is missing until the next", self.pid)
            self._died_us = now_us
            self.close()
        elif now_us - self._heard_us > IDLE_US:
            self.close()

    @property
    def pid(self) -> int:
        """Of the process, 0 while there is none."""
        return self.child.pid if self.child is not None else 0

    def _hand_over(self, frame: Frame, now_us: int) -> None:
        if self.child is None:
            if not frame.key or now_us - self._died_us < RESTART_US:
                return
            try:
                self.child = Child()
            except OSError as error:  # no memory, too many processes: the recording itself goes on
                log.warning("transcoder does not begin: %s", error)
                self._died_us = now_us
                return
            log.info("transcoder began pid=%d", self.child.pid)
        if self._skipping and not frame.key:
            return
        self._skipping = not self.child.send(frame)

    def close(self) -> None:
        """End the process, if there is one."""
        if self.child is not None:
            self.child.close()
            self.child = None
