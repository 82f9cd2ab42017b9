"""Writes and reads fragmented MP4 (ISO/IEC 14496-12 and -15), just as far as the recorder needs.

One constant init segment; the picture as ``avc3``, its parameter sets in band before every IDR, and
AAC beside it in the same fragments; ``tfdt`` absolute.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.recorder import h264

VIDEO_HZ = 90_000
AUDIO_HZ = 48_000
AAC_SAMPLES = 1024
VIDEO, AUDIO = 1, 2
_KEY, _DELTA = 0x02000000, 0x01010000
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def init(parameters: bytes, asc: bytes | None, entry: bytes = b"avc3") -> bytes:
    """The init segment.

    ``parameters``: length-prefixed SPS and PPS that tell the size and go into ``avcC``;
    ``asc``: the AudioSpecificConfig of mono AAC-LC at 48 kHz, None for no sound.
    """
    nals = h264.nals_of(parameters)
    sps = [nal for nal in nals if h264.nal_type(nal) == h264.SPS]
    size = h264.parse_sps(sps[0])
    tracks = [_track(VIDEO, VIDEO_HZ, (size.width, size.height), _avc(nals, size, entry))]
    if asc is not None:
        tracks.append(_track(AUDIO, AUDIO_HZ, None, _mp4a(asc)))
    extends = [
        _full(b"trex", 0, 0, struct.pack(">5I", number + 1, 1, 0, 0, 0))
        for number in range(len(tracks))
    ]
    header = struct.pack(">4IIH10x", 0, 0, 1000, 0, 0x10000, 0x100) + _MATRIX + bytes(24)
    brands = struct.pack(">4sI", b"iso6", 0) + b"iso6cmfcmp41"
    mvhd = _full(b"mvhd", 0, 0, header, struct.pack(">I", len(tracks) + 1))
    return _box(b"ftyp", brands) + _box(b"moov", mvhd, *tracks, _box(b"mvex", *extends))


def _track(number: int, rate_hz: int, size: tuple[int, int] | None, entry: bytes) -> bytes:
    width, height = size or (0, 0)
    volume = 0 if size else 0x100
    tkhd = struct.pack(">5I8x4H", 0, 0, number, 0, 0, 0, 0, volume, 0)
    kind, name = (b"vide", b"video\0") if size else (b"soun", b"audio\0")
    media_header = _full(b"vmhd", 0, 1, bytes(8)) if size else _full(b"smhd", 0, 0, bytes(4))
    tables = [
        _full(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        _full(b"stts", 0, 0, bytes(4)),
        _full(b"stsc", 0, 0, bytes(4)),
        _full(b"stsz", 0, 0, bytes(8)),
        _full(b"stco", 0, 0, bytes(4)),
    ]
    reference = _box(b"dinf", _full(b"dref", 0, 0, struct.pack(">I", 1), _full(b"url ", 0, 1)))
    return _box(
        b"trak",
        _full(b"tkhd", 0, 7, tkhd, _MATRIX, struct.pack(">II", width << 16, height << 16)),
        _box(
            b"mdia",
            _full(b"mdhd", 0, 0, struct.pack(">4IHH", 0, 0, rate_hz, 0, 0x55C4, 0)),
            _full(b"hdlr", 0, 0, bytes(4), kind, bytes(12), name),
            _box(b"minf", media_header, reference, _box(b"stbl", *tables)),
        ),
    )


def _avc(nals: Sequence[bytes], size: h264.Sps, entry: bytes) -> bytes:
    sps = [nal for nal in nals if h264.nal_type(nal) == h264.SPS][:31]
    pps = [nal for nal in nals if h264.nal_type(nal) == h264.PPS]
    sets = [bytes([0xE0 | len(sps)]), *_prefixed(sps), bytes([len(pps)]), *_prefixed(pps)]
    config = _box(b"avcC", b"\x01" + sps[0][1:4] + b"\xff", *sets)
    visual = struct.pack(
        ">6xH16xHHIIIH32xHh", 1, size.width, size.height, 72 << 16, 72 << 16, 0, 1, 24, -1
    )
    return _box(entry, visual, config)


def _prefixed(nals: Sequence[bytes]) -> list[bytes]:
    return [struct.pack(">H", len(nal)) + nal for nal in nals]


def _mp4a(asc: bytes) -> bytes:
    def descriptor(tag: int, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return bytes([tag, len(body)]) + body

    config = struct.pack(">BBBHII", 0x40, 0x15, 0, 0, 64_000, 64_000) + descriptor(5, asc)
    esds = descriptor(3, bytes(3), descriptor(4, config), descriptor(6, b"\x02"))
    sound = struct.pack(">6xH8xHHIHH", 1, 1, 16, 0, AUDIO_HZ, 0)
    return _box(b"mp4a", sound, _full(b"esds", 0, 0, esds))


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame of picture or sound; ``duration`` in ticks of its track."""

    data: bytes
    duration: int
    key: bool


@dataclass(frozen=True, slots=True)
class Run:
    """The samples of one track in a fragment, from ``start`` (ticks) on, without holes."""

    track: int
    start: int
    samples: Sequence[Sample]

    @property
    def end(self) -> int:
        """ticks"""
        return self.start + sum(sample.duration for sample in self.samples)


_MOOF_BYTES, _TRAF_BYTES = 24, 64
"""as ``_moof`` and ``_traf`` write them, without samples"""


def fragment(number: int, runs: Sequence[Run]) -> bytes:
    """One moof and its mdat."""
    offsets, at = [], _MOOF_BYTES + sum(_TRAF_BYTES + 12 * len(run.samples) for run in runs) + 8
    for run in runs:
        offsets.append(at)
        at += sum(len(sample.data) for sample in run.samples)
    data = [sample.data for run in runs for sample in run.samples]
    return _moof(number, runs, offsets) + _box(b"mdat", *data)


def _moof(number: int, runs: Sequence[Run], offsets: Sequence[int]) -> bytes:
    trafs = [_traf(run, offset) for run, offset in zip(runs, offsets, strict=True)]
    return _box(b"moof", _full(b"mfhd", 0, 0, struct.pack(">I", number)), *trafs)


def _traf(run: Run, offset: int) -> bytes:
    entries = [
        struct.pack(">3I", item.duration, len(item.data), _KEY if item.key else _DELTA)
        for item in run.samples
    ]
    return _box(
        b"traf",
        _full(b"tfhd", 0, 0x020000, struct.pack(">I", run.track)),
        _full(b"tfdt", 1, 0, struct.pack(">Q", run.start)),
        _full(b"trun", 0, 0x000701, struct.pack(">Ii", len(entries), offset), *entries),
    )


@dataclass(frozen=True, slots=True)
class Fragment:
    """Where a fragment lies in its file, and on the time line."""

    offset: int
    size: int
    start: int
    """ticks of the picture"""
    end: int
    audio_end: int | None
    """ticks of the sound"""
    parameters: bytes
    """length-prefixed SPS and PPS if it begins with an IDR, else nothing"""


def leading_parameters(sample: bytes) -> bytes:
    """The parameter sets at the head of a sample, as they lie there."""
    size = 0
    for nal in h264.nals_of(sample):
        if h264.nal_type(nal) not in (h264.SPS, h264.PPS):
            break
        size += 4 + len(nal)
    return sample[:size]


def scan(path: Path) -> list[Fragment]:
    """The whole fragments of a file that ``fragment`` wrote; what was cut off at its end is left out."""
    data = path.read_bytes()
    found: list[Fragment] = []
    boxes = list(_boxes(data, 0, len(data)))
    for (kind, start, end), (next_kind, next_start, next_end) in zip(
        boxes, boxes[1:], strict=False
    ):
        if kind != b"moof" or next_kind != b"mdat":
            continue
        spans = {track: span for track, *span in _spans(data, start + 8, end)}
        if VIDEO not in spans:
            continue
        first, last = spans[VIDEO]
        audio_end = spans[AUDIO][1] if AUDIO in spans else None
        parameters = leading_parameters(data[next_start + 8 : next_end])
        found.append(Fragment(start, next_end - start, first, last, audio_end, parameters))
    return found


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > end:
            return
        yield kind, at, at + size
        at += size


def _spans(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    for kind, start, stop in _boxes(data, at, end):
        if kind != b"traf":
            continue
        inner = {name: where for name, where, _ in _boxes(data, start + 8, stop)}
        (track,) = struct.unpack_from(">I", data, inner[b"tfhd"] + 12)
        (begin,) = struct.unpack_from(">Q", data, inner[b"tfdt"] + 12)
        (count,) = struct.unpack_from(">I", data, inner[b"trun"] + 12)
        entries = struct.iter_unpack(">3I", data[inner[b"trun"] + 20 :][: 12 * count])
        yield track, begin, begin + sum(entry[0] for entry in entries)
