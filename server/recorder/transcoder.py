"""A process that makes one source's VP8 into the archive's H.264: ``python -m server.recorder.transcoder``.

Frames come and go on one socket, whose end is this process's end. It is nice to everyone else, keeps to
720p and 15 pictures a second, and where it falls behind it decodes everything and encodes only what is new.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import struct
from collections.abc import Iterator
from fractions import Fraction

import av
from av.video.frame import PictureType

from server.recorder import h264
from server.recorder.frames import Frame

log = logging.getLogger(__name__)

NICE = 10
MAX_WIDTH, MAX_HEIGHT, MAX_FPS = 1280, 720, 15
KEYFRAME_INTERVAL = 2 * MAX_FPS
READ_BYTES = 1 << 18
_EARLY_US = 10_000
"""a picture may come so much before its turn: cameras are not exact"""
BEHIND_US = 400_000
"""pictures so much older than the newest are not encoded; they come some 0.3 s at a time"""
_HEAD = struct.Struct(">Iq?")


def pack(frame: Frame) -> bytes:
    """One frame for the socket."""
    return _HEAD.pack(len(frame.data), frame.time_us, frame.key) + frame.data


class Unpacker:
    """Cuts what the socket gave into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that ``data`` completes."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD.size:
            length, time_us, key = _HEAD.unpack_from(buffer, at)
            end = at + _HEAD.size + length
            if len(buffer) < end:
                break
            yield Frame(time_us, bytes(buffer[at + _HEAD.size : end]), key)
            at = end
        del buffer[:at]


def fitted(width: int, height: int) -> tuple[int, int]:
    """The largest even size of the same shape within 720p, never larger than it is."""
    scale = min(1.0, MAX_WIDTH / width, MAX_HEIGHT / height)
    return max(2, int(width * scale) & ~1), max(2, int(height * scale) & ~1)


class Transcoder:
    """VP8 frames in, samples of H.264 constrained baseline out."""

    def __init__(self) -> None:
        self._decoder = _decoder()
        self._encoder: av.VideoCodecContext | None = None
        self._last_us = -(1 << 62)
        self._key = False
        """the next picture is to be a keyframe"""

    def transcode(self, frames: list[Frame]) -> Iterator[Frame]:
        """What came together: every frame is decoded, and encoded where it is due."""
        due_us = max((frame.time_us for frame in frames), default=0) - BEHIND_US
        for frame in frames:
            try:
                decoded = self._decoder.decode(av.Packet(frame.data))
            except av.FFmpegError as error:
                log.warning("not decoded: %s", error)
                self._decoder = _decoder()
                continue
            if not decoded:
                continue
            self._key = self._key or frame.key
            turn_us = self._last_us + 1_000_000 // MAX_FPS - _EARLY_US
            if frame.time_us >= max(due_us, turn_us):
                self._last_us = frame.time_us
                yield from self._encode(decoded[-1], frame.time_us)

    def _encode(self, picture: av.VideoFrame, time_us: int) -> Iterator[Frame]:
        width, height = fitted(picture.width, picture.height)
        encoder = self._encoder
        if encoder is None or (encoder.width, encoder.height) != (width, height):
            encoder = self._encoder = _encoder(width, height)
        picture = picture.reformat(width, height, "yuv420p")
        picture.pts, picture.time_base = time_us, encoder.time_base
        picture.pict_type = PictureType.I if self._key else PictureType.NONE
        self._key = False
        for packet in encoder.encode(picture):
            yield Frame(time_us, h264.sample_of_annex_b(bytes(packet)), packet.is_keyframe)


def _decoder() -> av.VideoCodecContext:
    decoder = av.CodecContext.create("vp8", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    return decoder


def _encoder(width: int, height: int) -> av.VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 1_000_000), Fraction(MAX_FPS)
    encoder.thread_count = 1
    encoder.options = {
        "profile": "baseline",
        "level": "3.1",
        "preset": "ultrafast",
        "tune": "zerolatency",
        "crf": "24",
        "maxrate": "2500k",
        "bufsize": "2500k",
        "forced-idr": "1",
        "x264-params": f"keyint={KEYFRAME_INTERVAL}:scenecut=0:repeat-headers=1:aud=0:threads=1",
    }
    return encoder


def run(sock: socket.socket) -> None:
    """Transcode what comes on ``sock`` until it ends."""
    unpacker, transcoder = Unpacker(), Transcoder()
    while data := sock.recv(READ_BYTES):
        for frame in transcoder.transcode(list(unpacker.feed(data))):
            sock.sendall(pack(frame))


def main() -> None:
    """The process, with its end of the recorder's socket."""
    parser = argparse.ArgumentParser(prog="server.recorder.transcoder", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="inherited socket")
    os.nice(NICE)
    logging.basicConfig(format="%(levelname)s transcoder: %(message)s")
    try:
        run(socket.socket(fileno=parser.parse_args().fd))
    except ConnectionError:
        pass  # the recorder needs it no more


if __name__ == "__main__":
    main()
