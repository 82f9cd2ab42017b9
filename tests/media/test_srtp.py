"""Our own sealing gives byte by byte what libsrtp gives, in whatever order packets come."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from server.media import rtp, srtp
from server.media.srtp import Sealing, Srtp, derive
from tests.media.built import needs_built

KEY, SALT = bytes(range(1, 33)), bytes(range(101, 113))
SSRCS = (7, 7 + 512, 0x89ABCDEF)
"""two of them want the same place in the table"""
PROFILES = {
    16: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    32: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


@pytest.fixture(autouse=True)
def _can_seal() -> None:
    needs_built()


def _session(size: int, kind: int) -> Session:
    policy = Policy(key=KEY[:size] + SALT, ssrc_type=kind, srtp_profile=PROFILES[size])
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return Session(policy)


def _sealing(size: int) -> Sealing:
    return Sealing(_session(size, Policy.SSRC_ANY_OUTBOUND), KEY[:size], SALT)


def _head(ssrc: int, number: int, transport: int = 3) -> bytearray:
    head = rtp.Head(ssrc, [(5, b"wall7")], transport_id=transport)
    head.write(
        padding=False, marker=True, payload_type=102, sequence=number & 0xFFFF, timestamp=number
    )
    return head.data


steps = st.tuples(
    st.sampled_from(SSRCS),
    st.integers(-3000, 20_000),
    st.one_of(st.just(b""), st.binary(max_size=40), st.just(bytes(1200))),
)
"""a stream, by how much its number goes on (or back), the payload"""


@given(st.sampled_from([16, 32]), st.lists(steps, max_size=60))
@example(16, [(7, 5000, b"new"), (7, -1023, b"late"), (7, -1024, b"of another turn, by its looks")])
def test_packets_are_those_that_libsrtp_makes(
    size: int, given_steps: list[tuple[int, int, bytes]]
) -> None:
    ours, theirs = _sealing(size), Srtp(_session(size, Policy.SSRC_ANY_OUTBOUND))
    numbers = dict.fromkeys(SSRCS, 1000)
    for ssrc, step, payload in [*((ssrc, 0, b"first") for ssrc in SSRCS), *given_steps]:
        number = max(1000, numbers[ssrc] + step)
        numbers[ssrc] = max(numbers[ssrc], number)
        head = _head(ssrc, number)
        expected = theirs.protect(head, payload, rtcp=False)
        found = ours.protect(head, payload, rtcp=False)
        if expected is None or found is None:  # too late
            assert expected is found and number <= numbers[ssrc] - 1024
        else:
            assert bytes(found) == bytes(expected)


def test_reports_go_beside_packets() -> None:
    ours, inbound = _sealing(16), Srtp(_session(16, Policy.SSRC_ANY_INBOUND))
    report = bytes.fromhex("80c80006" + "00000007" + "00" * 20)
    for number in (65_530, 65_540, 65_535, 200_000, 231_000):
        packet = ours.protect(_head(9, number), b"picture", rtcp=False)
        assert packet is not None
        assert inbound.unprotect(packet, rtcp=False) == bytes(_head(9, number)) + b"picture"
        told = ours.protect(report, b"", rtcp=True)
        assert told is not None and inbound.unprotect(told, rtcp=True) == report


def test_what_cannot_be_a_packet_is_not_sealed() -> None:
    ours = _sealing(16)
    assert ours.protect(_head(9, 5), bytes(srtp.MAX_PACKET_BYTES), rtcp=False) is None
    assert ours.protect(b"short", b"", rtcp=False) is None
    whole = _head(9, 5) + b"a payload that would stay readable"
    assert ours.protect(whole, b"", rtcp=False) is None
    assert ours.protect(_head(9, 5)[:-1], b"payload", rtcp=False) is None
    assert ours.protect(_head(9, 5), b"first", rtcp=False) is not None
    assert ours.protect(_head(9, 65_530), b"before the first", rtcp=False) is None
    streams = [ours.protect(_head(100 + i, 5), b"", rtcp=False) for i in range(600)]
    assert streams.count(None) == 600 - 511, "more streams than a peer can have"


def test_session_keys_are_derived_as_the_rfc_shows() -> None:
    """RFC 3711, B.3."""
    key = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139")
    salt = bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
    assert derive(key, salt, 0, 16).hex() == "c61e7a93744f39ee10734afe3ff7a087"
    assert derive(key, salt, 2, 14).hex() == "30cbbc08863d8c85d49db34a9ae1"
