"""The size of a picture, read from the packet that begins it: H.264 (7.3.2.1.1) and VP8. Pure.

Anything malformed gives None, never an exception.
"""

from __future__ import annotations

from server.media.keyframes import vp8_payload_start

Bytes = bytes | memoryview

_SPS, _STAP_A = 7, 24
_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
MAX_SPS_BYTES = 64


class _Bits:
    """Reads an H.264 bit string; beyond its end there is IndexError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def flag(self) -> int:
        value = self._data[self._position >> 3] >> (7 - (self._position & 7)) & 1
        self._position += 1
        return value

    def number(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self.flag()
        return value

    def golomb(self) -> int:
        """ue(v), 9.1."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 31:
                raise IndexError
        return (1 << zeros) - 1 + self.number(zeros)


def size(codec: str, payload: Bytes) -> tuple[int, int] | None:
    """(width, height) in pixels, if this payload tells."""
    try:
        if codec == "VP8":
            return _vp8(bytes(payload[:32]))
        return _h264(payload) if codec == "H264" else None
    except IndexError:
        return None


def _vp8(payload: bytes) -> tuple[int, int] | None:
    """RFC 6386, 9.1: a keyframe has a start code and two 14-bit sizes after its three-byte tag."""
    start = vp8_payload_start(payload)
    if start is None or payload[start + 3 : start + 6] != b"\x9d\x01\x2a":
        return None
    width = payload[start + 6] | (payload[start + 7] & 0x3F) << 8
    return width, payload[start + 8] | (payload[start + 9] & 0x3F) << 8


def _h264(payload: Bytes) -> tuple[int, int] | None:
    kind = payload[0] & 31
    if kind == _SPS:
        return _parameter_set(bytes(payload[1 : 1 + MAX_SPS_BYTES]))
    position = 1
    while kind == _STAP_A and position + 2 < len(payload):
        length = payload[position] << 8 | payload[position + 1]
        if payload[position + 2] & 31 == _SPS:
            unit = payload[position + 3 : position + 2 + length]
            return _parameter_set(bytes(unit[:MAX_SPS_BYTES]))
        position += 2 + length
    return None


def _parameter_set(data: bytes) -> tuple[int, int]:
    profile = data[0]
    bits = _Bits(data[3:].replace(b"\x00\x00\x03", b"\x00\x00"))  # 7.4.1: emulation prevention
    bits.golomb()  # seq_parameter_set_id
    chroma = 1
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            bits.flag()
        bits.golomb()
        bits.golomb()
        bits.flag()
        if bits.flag():  # scaling matrices: not worth reading for a number on a screen
            raise IndexError
    bits.golomb()  # log2_max_frame_num_minus4
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.flag()
        bits.golomb()
        bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb()  # max_num_ref_frames
    bits.flag()
    width, height = 16 * (bits.golomb() + 1), 16 * (bits.golomb() + 1)
    frames_only = bits.flag()
    if not frames_only:
        height *= 2
        bits.flag()
    bits.flag()  # direct_8x8_inference_flag
    if bits.flag():
        horizontal = 1 if chroma in (0, 3) else 2
        vertical = (2 if chroma == 1 else 1) * (2 - frames_only)
        width -= horizontal * (bits.golomb() + bits.golomb())
        height -= vertical * (bits.golomb() + bits.golomb())
    return width, height
