"""What is ready for many WebSockets goes out by one call (``spread.c``), else line by line.

A line gives its descriptor (``direct``) only while nothing waits before what is sent next. What
its socket does not take at once, for whatever reason, goes its ordinary way.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cffi import FFI  # type: ignore[import-untyped]

from server import native
from server.live.websocket import CLEAR, Line

VERSION = 3
_DECLARATIONS = """
int diemcau_spread(const int *fds, int count, const uint32_t *sizes, int same, const char *data,
                   uint32_t *short_of, uint32_t *taken);
int diemcau_spread_among(const int *fds, const uint64_t *numbers, const uint32_t *at, int seats,
                         const uint8_t *hears, const uint64_t *clear, int clear_size,
                         const char *data, uint32_t size, uint32_t *short_of, uint32_t *taken);
int diemcau_ring(int wanted);
"""


@functools.cache
def library() -> tuple[FFI, Any] | None:
    """The compiled code, None where it was not built."""
    return native.load(Path(__file__).parent, "_spread", _DECLARATIONS, VERSION)


def spread(lines: Sequence[Line], frames: bytes) -> None:
    """Send the same ready-made frames to each, behind what it got before."""
    compiled = library()
    if compiled is None:
        for line in lines:
            line.write(frames)
        return
    fds = array("i", [line.direct for line in lines])
    if fds and min(fds) < 0:
        for line in lines:
            if line.direct < 0:
                line.write(frames)
        # What is written to one changes no other's way.
        lines = [line for line, fd in zip(lines, fds, strict=True) if fd >= 0]
        fds = array("i", [fd for fd in fds if fd >= 0])
    for number, taken in _send(compiled, fds, [len(frames)], True, frames):
        lines[number].write(frames[taken:])


def spread_among(
    descriptors: array[int], numbers: array[int], at: array[int], hears: bytearray, frames: bytes
) -> list[tuple[int, int]]:
    """Send to each line (a descriptor and a number) that is ``at`` a place which ``hears``, with
    ``CLEAR`` of descriptors. Gives (which, bytes taken) of those that are to get more, or all."""
    compiled = library()
    if compiled is None:
        return [(number, 0) for number, place in enumerate(at) if hears[place]]
    ffi, code = compiled
    short_of, taken = ffi.new("uint32_t[]", len(at)), ffi.new("uint32_t[]", len(at))
    found = code.diemcau_spread_among(
        ffi.from_buffer("int[]", descriptors),
        ffi.from_buffer("uint64_t[]", numbers),
        ffi.from_buffer("uint32_t[]", at),
        len(at),
        ffi.from_buffer("uint8_t[]", hears),
        ffi.from_buffer("uint64_t[]", CLEAR),
        len(CLEAR),
        ffi.from_buffer(frames),
        len(frames),
        short_of,
        taken,
    )
    return [(short_of[k], taken[k]) for k in range(found)]


def flush(lines: Sequence[Line]) -> None:
    """Send what each has held back."""
    compiled = library()
    if compiled is None:
        for line in lines:
            line.flush()
        return
    ready, fds, held = [], array("i"), []
    for line in lines:
        frames = line.release()
        if not frames:
            continue
        if line.direct < 0:
            line.write(frames)
        else:
            ready.append(line)
            fds.append(line.direct)
            held.append(frames)
    sizes = [len(frames) for frames in held]
    for number, taken in _send(compiled, fds, sizes, False, b"".join(held)):
        ready[number].write(held[number][taken:])


def _send(
    compiled: tuple[FFI, Any], fds: array[int], sizes: Sequence[int], same: bool, data: bytes
) -> list[tuple[int, int]]:
    """(number, bytes taken) of those that did not take all."""
    ffi, code = compiled
    short_of, taken = ffi.new("uint32_t[]", len(fds)), ffi.new("uint32_t[]", len(fds))
    known = array("I", sizes)
    found = code.diemcau_spread(
        ffi.from_buffer("int[]", fds),
        len(fds),
        ffi.from_buffer("uint32_t[]", known),
        same,
        ffi.from_buffer(data),
        short_of,
        taken,
    )
    return [(short_of[k], taken[k]) for k in range(found)]
