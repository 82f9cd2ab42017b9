"""One limit for all that a publisher sends, whoever reads it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.media import rtp, uplink
from server.media.limits import Allowance
from server.media.reading import Ids, Stream
from server.media.relaying import Relay
from server.media.uplink import BURST_S, EXCESS_S, MAX_PACKETS_PER_S, Compiled, Limit, Plain, Uplink
from tests.media.built import needs_built
from tests.media.camera import Camera, packet, publication
from tests.media.raw import RawPeer
from tests.media.relayed import Line

steps = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 1e-3, 0.05, 3.0]), st.integers(1, 1200)))


@given(st.integers(1, 50), st.integers(1, 20_000), steps)
@example(2, 1000, [(0.0, 600), (0.0, 600), (0.0, 400), (0.0, 1), (1.0, 1)])
def test_compiled_code_admits_what_python_does(
    packets: int, octets: int, coming: list[tuple[float, int]]
) -> None:
    needs_built()
    limits = [
        kind(Allowance(packets, packets), Allowance(octets, octets)) for kind in (Plain, Compiled)
    ]
    now_s = 100.0
    for step_s, size in coming:
        now_s += step_s
        plain, compiled = (limit.take(size, now_s) for limit in limits)
        assert plain == compiled


@pytest.mark.parametrize("kind", [Plain, Compiled])
def test_what_is_refused_counts_for_nothing(kind: Callable[[Allowance, Allowance], Limit]) -> None:
    """It may be asked about again, by who reads it next."""
    needs_built()
    limit = kind(Allowance(1, 2), Allowance(100, 1000))
    assert limit.take(900, 5.0)
    assert [limit.take(900, 5.0) for _ in range(5)] == [False] * 5, "too large"
    assert limit.take(100, 5.0), "one more packet"
    assert not limit.take(1, 5.9) and limit.take(1, 6.0)


@pytest.mark.parametrize("relayed_first", [True, False])
async def test_what_goes_on_by_itself_and_what_python_reads_is_one_count(
    raw: Callable[[], RawPeer], relayed_first: bool
) -> None:
    needs_built()
    line, peer = Line(), raw()
    try:
        found = publication(peer)
        assert found.video is not None and found.audio is not None
        relay = found.audio.layers[0].relay
        assert isinstance(relay, Relay)
        found.streams.bind(found.audio.layers[0], 9, 0.0)
        line.inlet.owner, peer.ice._reader = peer.peer.binding, line.reader
        line.inlet.know(Ids(), [Stream(9, 109, b"", relay)])
        relay.arm(0, None)

        def relayed() -> int:
            """Of 5,000 packets of sound, how many go on by themselves?"""
            gone = 0
            for number in range(1, 5001):
                line.send(_packet(109, 9, number))
                gone += line.read(10.0) == []
                peer.ice.catch_up(), line.inlet.take_came()
            return gone

        def read() -> int:
            """Of 5,000 packets of the picture, how many does Python take?"""
            for number in range(1, 5001):
                found.peer.on_rtp(memoryview(_packet(106, 5, number)), 10.0)
            assert found.video is not None
            return found.video.layers[0].arrivals.received

        first, second = (relayed, read) if relayed_first else (read, relayed)
        assert first() == MAX_PACKETS_PER_S * BURST_S
        assert second() == 0
        assert found.line(1.0).excess and found.packets == MAX_PACKETS_PER_S * BURST_S
    finally:
        line.close()


def _packet(kind: int, ssrc: int, number: int) -> bytes:
    return rtp.head(
        padding=False, marker=True, payload_type=kind, sequence=number, timestamp=number, ssrc=ssrc
    )


async def test_who_sends_far_too_much_is_cut_off(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    found = publication(camera)
    ended: list[str] = []
    found.uplink.on_excess = lambda: ended.append(found.source)
    size, number = 1200, 0
    step_s = size * 8 / (10 * 1_500_000)
    # Ten times what a camera may send is dropped in part; that alone ends nothing.
    while (now_s := number * step_s) < 2:
        camera.peer.on_rtp(packet(1, number, size), now_s)
        number += 1
    assert not ended
    taken = found.video and found.video.layers[0].arrivals.octets
    assert taken and taken <= uplink.MAX_BPS / 8 * (2 + 1)
    begin, number = number, 0
    while (now_s := 2 + number * size * 8 / (4 * uplink.MAX_BPS)) < 2.5 + EXCESS_S + 2:
        camera.peer.on_rtp(packet(1, begin + number, size), now_s)
        number += 1
        if ended:
            break
    assert ended == ["site:a"]
    assert found.line(2.0).excess and not found.line(2.0).excess, "told while it goes on"
    assert "sends too much: source=site:a holder=seat-a" in caplog.text


async def test_small_packets_count_as_the_work_that_they_are(camera: Camera) -> None:
    found = publication(camera)
    ended: list[str] = []
    found.uplink.on_excess = lambda: ended.append(found.source)
    for number in range(3 * MAX_PACKETS_PER_S * round(EXCESS_S + 2)):
        now_s = number / (3 * MAX_PACKETS_PER_S)
        camera.peer.on_rtp(packet(1, number, 1), now_s)
        if ended:
            break
    assert ended == ["site:a"]
    assert found.packets <= MAX_PACKETS_PER_S * (now_s + 1) + 1


def test_who_goes_on_is_cut_off_and_who_stops_in_between_is_not() -> None:
    told: list[str] = []
    found = Uplink(lambda what, details: told.append(what))
    found.on_excess = lambda: told.append("ended")
    size = uplink.MAX_BPS // 8 + 1
    for second in range(round(EXCESS_S)):
        assert not found.admits(size, 10.0 + second)
    assert found.take_exceeded() and not found.take_exceeded()
    assert told == ["sends too much"]
    for second in range(round(EXCESS_S) + 1):
        assert not found.admits(size, 30.0 + second)
    assert told == ["sends too much"] * 2
    assert not found.admits(size, 41.0)
    assert told == ["sends too much", "sends too much", "cut off", "ended"]
    assert found.admits(1000, 41.0)
