"""The little of H.264 (ITU-T H.264) that the recorder reads: NAL types and parameter sets."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SLICE, IDR, SPS, PPS = 1, 5, 7, 8
STAP_A, FU_A = 24, 28
_HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_LENGTH = struct.Struct(">I")


def nal_type(nal: bytes) -> int:
    """``nal_unit_type`` of a NAL unit with at least one byte (section 7.3.1)."""
    return nal[0] & 0x1F


def sample(nals: list[bytes]) -> bytes:
    """One MP4 sample: each NAL unit behind its four-byte length (ISO/IEC 14496-15)."""
    return b"".join(_LENGTH.pack(len(nal)) + nal for nal in nals)


def sample_of_annex_b(data: bytes) -> bytes:
    """One MP4 sample of an access unit with start codes, without AUD and SEI."""
    nals = [part.rstrip(b"\0") for part in data.split(b"\0\0\1")]
    return sample([nal for nal in nals if nal and nal_type(nal) in (SLICE, IDR, SPS, PPS)])


def nals_of(data: bytes) -> list[bytes]:
    """The NAL units of an MP4 sample, as far as they are whole."""
    nals, at = [], 0
    while at + 4 <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        if not length or at + 4 + length > len(data):
            break
        nals.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return nals


class _Bits:
    """Reads an RBSP: emulation prevention bytes taken out, most significant bit first."""

    def __init__(self, payload: bytes) -> None:
        rbsp = payload.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(rbsp, "big")
        self._left = 8 * len(rbsp)

    def u(self, count: int) -> int:
        if count > self._left:
            raise ValueError("parameter set is cut off")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise ValueError("Exp-Golomb code too long")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


@dataclass(frozen=True, slots=True)
class Sps:
    """What a sequence parameter set says of the picture (section 7.3.2.1.1)."""

    id: int
    width: int
    height: int


def parse_sps(nal: bytes) -> Sps:
    """Parse a sequence parameter set NAL unit.

    Raises: ValueError when it is cut off or out of bounds.
    """
    bits = _Bits(nal[1:])
    profile = bits.u(8)
    bits.u(16)
    sps_id = bits.ue()
    chroma = 1
    if profile in _HIGH_PROFILES:
        chroma = _skip_high(bits)
    bits.ue()  # log2_max_frame_num_minus4
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1), bits.se(), bits.se()
        for _ in range(_bounded(bits.ue(), 255)):
            bits.se()
    bits.ue(), bits.u(1)
    columns, rows = bits.ue() + 1, bits.ue() + 1
    progressive = bits.u(1)
    if not progressive:
        bits.u(1)
    bits.u(1)
    left, right, top, bottom = [bits.ue() for _ in range(4)] if bits.u(1) else [0] * 4
    unit_x = 2 if chroma in (1, 2) else 1
    unit_y = (2 if chroma == 1 else 1) * (2 - progressive)
    width = 16 * columns - unit_x * (left + right)
    height = 16 * rows * (2 - progressive) - unit_y * (top + bottom)
    if sps_id > 31 or not (0 < width <= 8192 and 0 < height <= 8192):
        raise ValueError("parameter set out of bounds")
    return Sps(sps_id, width, height)


def _skip_high(bits: _Bits) -> int:
    chroma = bits.ue()
    if chroma == 3:
        bits.u(1)
    bits.ue(), bits.ue(), bits.u(1)
    if bits.u(1):
        for index in range(8 if chroma != 3 else 12):
            if bits.u(1):
                last = following = 8
                for _ in range(16 if index < 6 else 64):
                    if following:
                        following = (last + bits.se()) % 256
                    last = following or last
    return chroma


def pps_id(nal: bytes) -> int:
    """``pic_parameter_set_id`` of a picture parameter set NAL unit.

    Raises: ValueError when it is cut off or out of bounds.
    """
    return _bounded(_Bits(nal[1:6]).ue(), 255)


def _bounded(value: int, most: int) -> int:
    if value > most:
        raise ValueError("value out of bounds")
    return value
