"""What exactly goes over the wire: numbering, feedback, repair, restart, moving addresses."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import time

from server.media import messages, rtcp
from server.media.output import REPORT_S
from tests.media.harness import SLUG, WorkerProcess, eventually
from tests.media.raw import GRANTS, PARAMETERS, SLICE, Make, RawPeer


async def two_rooms_and_a_page(
    worker: WorkerProcess, raw: Make
) -> tuple[RawPeer, RawPeer, RawPeer]:
    """Rooms a, on stage, and b; and a display."""
    worker.web.desire(GRANTS, stage="site:a")
    a, b, page = raw(), raw(), raw()
    b.video_ssrc = 0x3003
    await a.publish(worker, "seat-a", "site:a")
    await b.publish(worker, "seat-b", "site:b")
    await page.receive(worker, "display")
    return a, b, page


async def test_a_switch_waits_for_a_keyframe_and_leaves_no_seam(
    worker: WorkerProcess, raw: Make
) -> None:
    a, b, page = await two_rooms_and_a_page(worker, raw)
    a.send_video(65000, 7, SLICE)  # cannot be decoded alone: not forwarded
    a.send_video(65001, 3000, PARAMETERS)
    a.send_video(65002, 3000, SLICE)
    await eventually(lambda: len(page.got("stage")) == 2)

    b.send_video(0, 900_000, SLICE + b"b")
    await eventually(lambda: len(b.reports))
    worker.web.desire(GRANTS, stage="site:b")
    await eventually(lambda: b.items(rtcp.KeyframeRequest))
    b.send_video(1, 900_000, SLICE + b"b")
    a.send_video(65003, 6000, SLICE)  # bridges until the keyframe
    await eventually(lambda: len(page.got("stage")) == 3)
    b.send_video(2, 903_000, PARAMETERS + b"b")
    b.send_video(3, 903_000, SLICE + b"b")
    await eventually(lambda: len(page.got("stage")) == 5)
    a.send_video(65004, 9000, SLICE)
    b.send_video(4, 906_000, SLICE + b"b")
    await eventually(lambda: len(page.got("stage")) >= 6)
    packets = page.got("stage")
    assert [payload for _, payload in packets] == [
        PARAMETERS, SLICE, SLICE, PARAMETERS + b"b", SLICE + b"b", SLICE + b"b",
    ]  # fmt: skip
    first = packets[0][0].sequence
    assert [h.sequence for h, _ in packets] == [(first + i) & 0xFFFF for i in range(6)]
    steps = [(packets[i + 1][0].timestamp - packets[i][0].timestamp) & 0xFFFFFFFF for i in range(5)]
    assert steps[0] == 0 and steps[1] == 3000 and steps[3] == 0 and steps[4] == 3000
    assert 900 <= steps[2] < 90_000 * 5  # the time that passed here
    assert {h.payload_type for h, _ in packets} == {102}


async def test_losses_are_repaired_on_both_sides(worker: WorkerProcess, raw: Make) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    a, page = raw(), raw()
    await a.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    a.send_video(10, 0, PARAMETERS)
    a.send_video(13, 3000, SLICE + b"13")
    nack = (await eventually(lambda: a.items(rtcp.Nack)))[0]
    assert nack == rtcp.Nack(a.video_ssrc, (11, 12))
    a.send_video(11, 0, SLICE + b"11")
    a.send_video(12, 0, SLICE + b"12")
    await eventually(lambda: len(page.got("stage")) == 4)
    assert sorted(h.sequence - page.got("stage")[0][0].sequence for h, _ in page.got("stage")) == [
        0, 1, 2, 3,
    ]  # fmt: skip
    count = len(a.items(rtcp.Nack))
    page.peer.losing = 1
    a.send_video(14, 6000, SLICE + b"14")
    a.send_video(15, 6000, SLICE + b"15")
    await eventually(lambda: len(page.got("stage")) == 5)
    lost = (page.got("stage")[-1][0].sequence - 1) & 0xFFFF
    page.peer.send_rtcp(rtcp.nack(1, page.slots["stage"], [lost]))
    await eventually(lambda: len(page.got("stage")) == 6)
    header, payload = page.got("stage")[-1]
    assert (header.sequence, payload) == (lost, SLICE + b"14")
    assert header.timestamp == page.got("stage")[-2][0].timestamp
    await asyncio.sleep(0.2)
    assert len(a.items(rtcp.Nack)) == count, "what has come is not asked for again"


async def test_uplinks_get_transport_feedback_and_reports(worker: WorkerProcess, raw: Make) -> None:
    worker.web.desire(GRANTS)
    a = raw()
    await a.publish(worker, "seat-a", "site:a")
    for number in range(30):
        if number != 5:
            a.send_video(number, 3000 * number, SLICE, transport=65530 + number & 0xFFFF)
        await asyncio.sleep(0.02)
    a.peer.send_rtcp(rtcp.sender_report(a.video_ssrc, 5 << 32, 0, 29, 999, "a"))

    def reported() -> list[int]:
        """Transport-wide numbers, in the order in which they were told of."""
        numbers = []
        for report in a.reports:
            if report[1] == rtcp.TRANSPORT_FEEDBACK and report[0] & 31 == 15:
                base, count = struct.unpack_from("!HH", report, 12)
                numbers += [(base + i) & 0xFFFF for i in range(count)]
        return numbers

    await eventually(lambda: len(reported()) >= 30)
    assert reported() == [(65530 + i) & 0xFFFF for i in range(30)], "each once, in order"
    blocks: list[rtcp.ReportBlock] = []

    def all_reported() -> bool:
        a.check()  # who is silent for two seconds is gone here
        blocks[:] = [b for b in a.items(rtcp.ReportBlock) if isinstance(b, rtcp.ReportBlock)]
        return bool(blocks) and blocks[-1].highest & 0xFFFF == 29

    await eventually(all_reported)
    assert blocks[-1].ssrc == a.video_ssrc and blocks[-1].lost == 1
    told = len(blocks)
    await eventually(lambda: all_reported() and len(blocks) > told + 1)
    assert not blocks[-1].last_sr, "who knew the round trip would not repeat a packet within it"


async def test_keyframes_are_asked_for_at_most_twice_a_second(
    worker: WorkerProcess, raw: Make
) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    a, page = raw(), raw()
    await a.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    a.send_video(1, 0, PARAMETERS)
    await eventually(lambda: page.got("stage"))
    a.reports.clear()
    began_s = time.monotonic()
    numbers = itertools.count(2)

    def asked_thrice() -> bool:
        number = next(numbers)
        a.send_video(number, 3000 * number, SLICE)  # who is silent is asked for nothing
        page.peer.send_rtcp(rtcp.pli(1, page.slots["stage"]))
        return len(a.items(rtcp.KeyframeRequest)) >= 3

    await eventually(asked_thrice)
    took_s = time.monotonic() - began_s
    assert len(a.items(rtcp.KeyframeRequest)) <= 2 + 2 * took_s


async def test_sender_reports_follow_the_servers_clock(worker: WorkerProcess, raw: Make) -> None:
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    a, page = raw(), raw()
    await a.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    # The publisher's clock is years off; its picture is captured 2 s before its sound's zero.
    a.peer.send_rtcp(rtcp.sender_report(a.video_ssrc, 1000 << 32, 90_000 * 2, 1, 1, "x"))
    a.peer.send_rtcp(rtcp.sender_report(a.audio_ssrc, 1000 << 32, 0, 1, 1, "x"))
    a.send_video(1, 90_000 * 2, PARAMETERS)
    a.send_audio(0, b"sound")
    await eventually(lambda: page.got("stage") and page.got("audio0"))

    def reports() -> dict[int, rtcp.SenderReport]:
        found = page.items(rtcp.SenderReport)
        return {r.ssrc: r for r in found if isinstance(r, rtcp.SenderReport)}

    await eventually(lambda: {page.slots["stage"], page.slots["audio0"]} <= reports().keys())
    at_s = []
    for mid, clock_rate_hz in (("stage", 90_000), ("audio0", 48_000)):
        report = reports()[page.slots[mid]]
        behind = (report.rtp - page.got(mid)[0][0].timestamp) & 0xFFFFFFFF
        at_s.append(report.ntp / (1 << 32) - behind / clock_rate_hz)
    assert abs(at_s[0] - at_s[1]) < 0.02, "what was captured together is presented together"


async def test_a_sender_report_comes_soon_for_what_is_new(worker: WorkerProcess, raw: Make) -> None:
    a, b, page = await two_rooms_and_a_page(worker, raw)
    numbers = itertools.count()

    async def is_told(source: RawPeer) -> bool:
        """Does a sender report come well before the turn of its stream, while ``source`` sends?"""
        before = len(page.items(rtcp.SenderReport))
        for number in itertools.islice(numbers, round(REPORT_S / 3 / 0.02)):
            source.send_video(number, 3000 * number, PARAMETERS)
            page.peer.send_rtcp(rtcp.receiver_report(1, [], "x"))  # or it is taken to be gone
            await asyncio.sleep(0.02)
            if len(page.items(rtcp.SenderReport)) > before:
                return True
        return False

    assert await is_told(a), "what is shown is new"
    a.peer.send_rtcp(rtcp.sender_report(a.video_ssrc, 1000 << 32, 0, 1, 1, "x"))
    assert await is_told(a), "its publisher has told"
    worker.web.desire(GRANTS, stage="site:b")
    assert await is_told(b), "what is shown is new again"


async def test_a_restart_keeps_the_association_and_a_moved_peer_goes_on(
    worker: WorkerProcess, raw: Make
) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    a, page = raw(), raw()
    await a.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    a.send_video(1, 0, PARAMETERS)
    await eventually(lambda: len(page.got("stage")) == 1)

    a.reports.clear()
    offered = await worker.web.ask(messages.Restart, session=page.session, holder="display")
    before = page.remote
    page.read(offered.sdp)
    assert page.remote[0] != before[0]
    elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    elsewhere.bind(("127.0.0.1", 0))
    page.check(sock=elsewhere)
    elsewhere.settimeout(60)
    assert (await asyncio.to_thread(elsewhere.recv, 2048))[:2] == b"\x01\x01"
    await eventually(lambda: a.items(rtcp.KeyframeRequest))
    a.send_video(2, 0, SLICE)
    assert (await asyncio.to_thread(elsewhere.recv, 2048))[0] >> 6 == 2, "media follows the check"
    elsewhere.close()

    # A publisher's address changes under it: authentic media alone moves it.
    old = a.socket
    a.ice.stop(asyncio.get_running_loop())
    a.ice.socket = a.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    a.socket.bind(("127.0.0.1", 0))
    a.socket.setblocking(False)
    a.ice.start(asyncio.get_running_loop())
    old.close()
    page.check()  # the page is at its first address again
    numbers = itertools.count(3)

    def heard() -> bool:
        """One packet may pass for one that was overtaken on the way."""
        a.send_video(next(numbers), 0, SLICE + b"moved")
        return bool(a.reports)

    a.reports.clear()
    await eventually(heard)
    await eventually(lambda: page.got("stage")[-1][1] == SLICE + b"moved")


async def test_vp8_goes_only_to_those_who_can_show_it(worker: WorkerProcess, raw: Make) -> None:
    worker.web.desire(GRANTS, stage="site:a", wall=("site:a",))
    a, able, unable = raw(), raw(), raw()
    await a.publish(worker, "seat-a", "site:a", codec="VP8")
    await able.receive(worker, "display", wall=1)
    await unable.receive(worker, "display", wall=1, vp8=False)
    keyframe = bytes.fromhex("10 00 00 00") + b"key"
    for number in range(10):
        a.send_video(number, 3000 * number, keyframe)
        await asyncio.sleep(0.02)
    await eventually(lambda: len(able.got("stage")) == 10)
    assert {h.payload_type for h, _ in able.got("stage")} == {96}
    assert not unable.got("stage")
    slots = await eventually(lambda: worker.web.last(messages.Slots, session=unable.session))
    assert slots.slots["stage"] is None


async def test_who_tells_its_views_again_is_told_its_slots_again(
    worker: WorkerProcess, raw: Make
) -> None:
    """A page whose line to web was away does not know what it missed."""
    web, page = worker.web, raw()
    web.desire(GRANTS, stage="site:a")
    await page.receive(worker, "display")

    def told() -> list[messages.Slots]:
        return [each for each in web.received if isinstance(each, messages.Slots)]

    await eventually(told)
    before = len(told())
    answer = await web.ask(messages.View, session=page.session, holder="display", heights_px={})
    assert isinstance(answer, messages.Answered)
    await eventually(lambda: len(told()) > before)
    assert told()[-1] == told()[0]


async def test_malformed_packets_change_nothing(worker: WorkerProcess, raw: Make) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    a, page = raw(), raw()
    await a.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for first in range(256):
        for size in (0, 1, 11, 40):
            stranger.sendto(bytes([first]) + bytes(range(size)), a.server)
            a.socket.sendto(bytes([first]) + bytes(range(size)), a.server)
    # Authentic but nonsense: truncated extensions, padding beyond the packet, wrong counts.
    for head in (
        "906a00010000000000001001bede0fff",
        "b06a0002000000000000100100000000ff",
        "8f6a0003000000000000100100",
        "806a00040000000000001001",
    ):
        a.peer.send_rtp(bytes.fromhex(head), b"")
    for body in (
        "80c80001000010",
        "8fc900010000",
        "81cdffff00000000",
        "9fce0003000000000000000000",
    ):
        a.peer.send_rtcp(bytes.fromhex(body))
        page.peer.send_rtcp(bytes.fromhex(body))
    stranger.close()
    a.send_video(100, 0, PARAMETERS)
    await eventually(lambda: page.got("stage"))


async def watch_stage(worker: WorkerProcess, player: RawPeer) -> None:
    """A player of the stage offers, and connects."""
    answered = await worker.web.ask(
        messages.Watch, conference=SLUG, holder="display", source="stage",
        sdp=player.offer("recvonly"),
    )  # fmt: skip
    description = player.read(answered.sdp)
    player.slots = {section.mid: section.ssrcs[0] for section in description.sections}
    assert [section.direction for section in description.sections] == ["sendonly", "sendonly"]
    await player.connect(description)


async def test_a_players_offer_is_answered_before_there_is_a_source(
    worker: WorkerProcess, raw: Make
) -> None:
    worker.web.desire(GRANTS, stage="site:a", floor=("site:b",))
    player, a, b = raw(), raw(), raw()
    await watch_stage(worker, player)
    await a.publish(worker, "seat-a", "site:a")
    await b.publish(worker, "seat-b", "site:b")
    await a.pump(20, tag=b"a")
    await b.pump(20, tag=b"b")
    await eventually(lambda: player.got("v") and player.got("a"))
    assert {p[-1:] for _, p in player.got("v")} == {b"a"}
    assert {p[-1:] for _, p in player.got("a")} == {b"b"}, "the floor's sound, not the stage's"


async def test_a_player_of_the_stage_hears_whoever_speaks(worker: WorkerProcess, raw: Make) -> None:
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a", "site:b"))
    player, a, b = raw(), raw(), raw()
    await watch_stage(worker, player)
    await a.publish(worker, "seat-a", "site:a")
    await b.publish(worker, "seat-b", "site:b")
    numbers = itertools.count(1)

    async def heard_while(a_level: int, b_level: int, voice: bytes) -> bool:
        """Is ``voice`` all that comes of ten packets, sooner or later?"""
        for _ in range(50):
            player.packets.clear()
            for number in itertools.islice(numbers, 10):
                a.send_audio(number, b"a", a_level)
                b.send_audio(number, b"b", b_level)
                await asyncio.sleep(0.02)
            if {payload for _, payload in player.got("a")} == {voice}:
                return True
        return False

    assert await heard_while(20, 70, b"a")
    assert await heard_while(70, 20, b"b")
    assert await heard_while(20, 70, b"a")


async def test_a_source_that_ignores_requests_is_entered_by_its_latest_group(
    worker: WorkerProcess, raw: Make
) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    a, page = raw(), raw()
    await a.publish(worker, "seat-a", "site:a")
    for number in range(30):  # a keyframe, then ten pictures of three packets
        a.send_video(number, number // 3 * 3000, SLICE if number else PARAMETERS)
    await page.receive(worker, "display")
    await eventually(lambda: len(page.got("stage")) == 30)
    a.send_video(30, 30_000, SLICE)
    await eventually(lambda: len(page.got("stage")) == 31)
    headers = [header for header, _ in page.got("stage")]
    begin = headers[0].timestamp
    assert [(h.timestamp - begin) & 0xFFFFFFFF for h in headers] == [
        90 * (number // 3) for number in range(30)
    ] + [90 * 9 + 3000]
    first = headers[0].sequence
    assert [h.sequence for h in headers] == [(first + i) & 0xFFFF for i in range(31)]
