"""What strangers and bad peers send: others notice nothing, memory stays bounded, the log says who."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable

import pytest

from server.media import messages, rtcp, rtp, sdp, stun
from server.media.refusals import FEWEST_TOLD, MOST_SENDERS, TELL_EVERY_S, Refusals
from tests.media.harness import SLUG, WorkerProcess, eventually
from tests.media.raw import GRANTS, RawPeer, refusal_is_told


def datagrams(victim: RawPeer, chance: random.Random) -> list[bytes]:
    """One of each kind that a stranger may think of, of a peer that it has watched."""
    ufrag = victim.remote[0]
    check = stun.request(os.urandom(12), f"{ufrag}:x", "not the password", use_candidate=True)
    unknown = stun.request(os.urandom(12), "nobody:x", "secret", use_candidate=True)
    media = rtp.head(
        padding=False, marker=True, payload_type=106, sequence=chance.randrange(1 << 16),
        timestamp=7, ssrc=victim.video_ssrc, block=b"",
    )  # fmt: skip
    dtls = bytes([22, 254, 253]) + bytes(8) + b"\x00\x20" + chance.randbytes(32)
    alert = bytes([21, 254, 253]) + bytes(8) + b"\x00\x02\x02\x28"
    whole = [check, unknown, media + chance.randbytes(200), dtls, alert, rtcp.pli(1, 2)]
    cut = [data[: chance.randrange(1, len(data))] for data in whole]
    return [*whole, *cut, chance.randbytes(60), b"", b"\x80"]


async def stage_and_display(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> tuple[RawPeer, RawPeer]:
    """A site on stage that holds the floor, and a display."""
    site, page = raw(), raw()
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    return site, page


async def test_forgeries_disturb_nobody_and_the_log_says_whose(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """From an address of their own, and from the victim's: its packets are not taken for theirs."""
    site, page = await stage_and_display(worker, raw)
    before_kb = worker.process.memory_kb()
    chance = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        number = 0
        for _ in range(30):
            for data in datagrams(site, chance) * 4:
                stranger.sendto(data, site.server)
                site.socket.sendto(data, site.server)
            number = await site.pump(1, start=number)
            # Before the next flood: on a busy machine the kernel's own buffer would be full of them.
            await eventually(lambda: len(page.got("stage")) == 2 * number)
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.recv(2000)
    await eventually(lambda: len(page.got("audio0")) >= number - 2)
    assert worker.process.memory_kb() - before_kb < 8_000
    await refusal_is_told(worker, site, page)
    assert worker.web.last(messages.Closed) is None


@pytest.mark.parametrize("reports_s", [0.02, 5.0], ids=["a page", "a player"])
async def test_a_check_that_was_watched_and_sent_again_takes_nobodys_pictures_away(
    worker: WorkerProcess, raw: Callable[[], RawPeer], reports_s: float
) -> None:
    site, page = await stage_and_display(worker, raw)
    watched = page.check()
    number = 0
    report_at_s = 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for turn in range(100):
            if (now_s := time.monotonic()) >= report_at_s:
                page.peer.send_rtcp(rtcp.receiver_report(1, [], "page"))
                report_at_s = now_s + reports_s
                await asyncio.sleep(0.02)
            if turn % 25 == 0:
                page.check()
            stranger.sendto(watched, page.server)
            number = await site.pump(1, start=number)
        await eventually(lambda: len(page.got("stage")) == 2 * number)
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            while data := stranger.recv(2000):
                assert data[0] < 4, "an answer to its check, no media"


async def test_a_receiver_is_where_it_sends_from(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """Its browser has changed over to another path, checked before, without any further check."""
    site, page = await stage_and_display(worker, raw)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        page.peer.send_rtcp(rtcp.receiver_report(1, [], "page"))
        await asyncio.sleep(0.05)
        page.check(sock=other)
        await site.pump(5)
        await eventually(lambda: len(page.got("stage")) == 10)
        page.ice.send = lambda data, path: other.sendto(data, page.server)  # type: ignore
        page.peer.send_rtcp(rtcp.receiver_report(1, [], "page"))
        await site.pump(5, start=5)
        other.settimeout(60)
        while (await asyncio.to_thread(other.recv, 2000))[0] < 128:
            pass  # until media comes


async def test_a_peer_that_asks_for_everything_gets_no_more_than_its_share(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """It NACKs what it has and what never was, and wants a keyframe with every packet."""
    site, page, greedy = raw(), raw(), raw()
    worker.web.desire({**GRANTS, "greedy": messages.Grant(receive=True)}, stage="site:a")
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    await greedy.receive(worker, "greedy")
    number = 0
    for turn in range(40):
        ssrc = greedy.slots["stage"]
        for lost in (range(turn, turn + 17), range(0, 60000, 200), range(100, 60000, 200)):
            greedy.peer.send_rtcp(rtcp.nack(1, ssrc, list(lost)))
        greedy.peer.send_rtcp(rtcp.pli(1, ssrc))
        number = await site.pump(1, start=number)
    await eventually(lambda: len(page.got("stage")) == 2 * number)
    assert len(site.items(rtcp.KeyframeRequest)) <= 6, "twice a second, and one at each beginning"
    assert len({h.sequence for h, _ in page.got("stage")}) == len(page.got("stage"))
    assert "holder=greedy" in worker.process.logged("asks too much")


async def test_who_claims_anothers_ssrc_keeps_to_its_own_source(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    site, thief, page = raw(), raw(), raw()
    worker.web.desire(GRANTS, stage="site:a", wall=("site:a", "site:b"))
    await thief.publish(worker, "seat-b", "site:b")  # the raw peers all use the same SSRCs
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display", wall=2)
    number = 0
    for _ in range(10):
        await thief.pump(1, tag=b"thief", start=number)
        number = await site.pump(1, tag=b"site", start=number)
    await eventually(lambda: len(page.got("stage")) == 2 * number and page.got("wall1"))
    assert all(payload.endswith(b"site") for _, payload in page.got("stage"))
    assert all(payload.endswith(b"thief") for _, payload in page.got("wall1"))


async def test_hostile_descriptions_are_refused(worker: WorkerProcess) -> None:
    """A thousand sections, lines of a hundred kilobytes, numbers out of range, and what takes long to
    read: the worker has other rooms to serve."""
    site = RawPeer()
    worker.web.desire(GRANTS)
    good = site.offer()
    head, _, sections = good.partition("m=")
    many = head + "".join(
        f"m=video 9 UDP/TLS/RTP/SAVPF 106\na=mid:{i}\na=rtpmap:106 H264/90000\n"
        for i in range(1000)
    )
    hostile = {
        "many": many,
        "long": good + "a=" + "x" * 300_000,
        "mid": good.replace("a=mid:v", "a=mid:" + "v" * 5000),
        "number": good.replace("106", "99999999999999999999"),
        "extension": good.replace("a=extmap:3 ", "a=extmap:-3 "),
        "zero": good.replace("m=video 9", "m=video 9\0"),
        "fingerprint": good.replace("sha-256 ", "sha-256 zz:"),
        "no fingerprint": good.replace("a=fingerprint", "a=no-fingerprint"),
        "ufrags": good + "a=ice-ufrag:x\n" * 10_000,
        "sources": head
        + "".join(f"a=ssrc:{i}\n" for i in range(9000))
        + "m=video 9 x 9\n" * sdp.MAX_SECTIONS,
    }
    refused = set()
    for name, text in hostile.items():
        answered = await worker.web.ask(
            messages.Publish, conference=SLUG, holder="seat-a", source="site:a", sdp=text
        )
        if isinstance(answered, messages.Refused):
            refused.add(name)
    assert refused >= {"many", "long", "mid", "number", "no fingerprint", "ufrags", "sources"}
    assert isinstance(
        await worker.web.ask(
            messages.Publish, conference=SLUG, holder="seat-a", source="site:a", sdp=good
        ),
        messages.Answered,
    )
    await site.close()


async def test_hostile_answers_are_refused_and_a_good_one_is_taken_still(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """More or fewer sections than were offered, others, and what no connection could come of."""
    page = raw()
    worker.web.desire(GRANTS)
    offered = await worker.web.ask(messages.Receive, conference=SLUG, holder="display", wall=2)
    good = page.answer(page.read(offered.sdp))
    head, *sections = good.split("m=")
    hostile = {
        "empty": "",
        "no section": head,
        "fewer": head + "m=" + sections[0],
        "many": head + "m=".join(["", *sections * 150]),
        "another order": head + "m=".join(["", *reversed(sections)]),
        "mid": good.replace("a=mid:stage", "a=mid:wall0"),
        "long": good + "a=" + "x" * 300_000,
        "ufrags": good + "a=ice-ufrag:x\n" * 10_000,
        "zero": good.replace("m=video 9", "m=video 9\0"),
        "no fingerprint": good.replace("a=fingerprint", "a=no-fingerprint"),
        "nobody begins": good.replace("a=setup:active", "a=setup:holdconn"),
    }
    asking = {"session": offered.session, "holder": "display"}
    for name, text in hostile.items():
        answered = await worker.web.ask(messages.Accept, **asking, sdp=text)
        assert isinstance(answered, messages.Refused), name
    answered = await worker.web.ask(messages.Accept, **asking, sdp=good)
    assert isinstance(answered, messages.Answered)


def test_refusals_are_told_seldom_and_counted_in_bounded_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals()
    for i in range(10 * MOST_SENDERS):
        refusals.refuse("check", f"192.0.2.{i}")
    for _ in range(FEWEST_TOLD):
        refusals.refuse("media", "198.51.100.7")
    assert len(refusals._counts) <= MOST_SENDERS + 2
    refusals.tick(100.0, lambda host: "hoi-nghi/seat")
    assert ["from=others" in line for line in caplog.messages] == [True, True]
    for second in range(1, 30):
        refusals.refuse("check", "203.0.113.1")  # a little of it is no news
        for _ in range(FEWEST_TOLD):
            refusals.refuse("media", "198.51.100.7")
        refusals.tick(100.0 + second, lambda host: "hoi-nghi/seat")
    told = [line for line in caplog.messages if "198.51.100.7" in line]
    assert len(told) == 29 // int(TELL_EVERY_S) and "sessions=hoi-nghi/seat" in told[0]
    assert "203.0.113.1" not in caplog.text
