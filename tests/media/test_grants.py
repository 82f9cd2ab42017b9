"""Who may do what, and who hears whom: enforced by the worker, whatever a client sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from server.media import messages
from tests.media.harness import SLUG, Process, WorkerProcess, eventually
from tests.media.raw import PARAMETERS, Make, RawPeer

SITE_A = messages.Grant(publish=("site:a", "site:a:screen"), receive=True, own="site:a")
SITE_B = messages.Grant(publish=("site:b",), receive=True, own="site:b")
SITE_C = messages.Grant(publish=("site:c",), receive=True, own="site:c")
SITE_D = messages.Grant(publish=("site:d",), receive=True, own="site:d")
GRANTS = {
    "seat-a": SITE_A,
    "seat-b": SITE_B,
    "seat-c": SITE_C,
    "seat-d": SITE_D,
    "encoder": messages.Grant(publish=("site:a",)),
    "display": messages.Grant(receive=True),
}


async def test_what_is_not_granted_is_refused(worker: WorkerProcess, raw: Make) -> None:
    web, peer = worker.web, raw()
    offer = peer.offer()

    async def refused(kind: type, **values: object) -> str:
        answer = await web.ask(kind, **values)
        assert isinstance(answer, messages.Refused), answer
        return answer.code

    async def publish(holder: str, source: str, sdp: str = offer) -> str:
        return await refused(
            messages.Publish, conference=SLUG, holder=holder, source=source, sdp=sdp
        )

    assert await publish("seat-a", "site:a") == "not_found", "no desired state yet"
    web.desire(GRANTS)
    assert await publish("stranger", "site:a") == "forbidden"
    assert await publish("seat-a", "site:b") == "forbidden"
    assert await publish("display", "site:a") == "forbidden"
    assert await publish("seat-a", "site:a", "v=0\r\nnonsense") == "sdp_head"
    assert await publish("seat-a", "site:a", offer.replace("a=fingerprint", "a=x")) == "fingerprint"
    no_codec = offer.replace("H264", "AV1").replace("opus", "G729")
    assert await publish("seat-a", "site:a", no_codec) == "video_codec"
    assert await refused(messages.Receive, conference=SLUG, holder="encoder") == "forbidden"
    values = {"conference": SLUG, "source": "stage", "sdp": peer.offer("recvonly")}
    assert await refused(messages.Watch, holder="encoder", **values) == "forbidden"

    await peer.publish(worker, "seat-a", "site:a")
    await eventually(web.published)
    for kind in (messages.Restart, messages.Accept, messages.Close):
        rest = {} if kind is messages.Close else {"sdp": offer}
        assert await refused(kind, session=peer.session, holder="seat-b", **rest) == "forbidden"
    assert await refused(messages.Restart, session="gone", holder="seat-a") == "not_found"
    stranger = raw().offer().split("a=fingerprint:")[1].splitlines()[0]
    own = offer.split("a=fingerprint:")[1].splitlines()[0]
    for was, becomes in (("a=mid:v", "a=mid:w"), (own, stranger)):
        text = offer.replace("BUNDLE v", "BUNDLE w" if "mid" in was else "BUNDLE v").replace(
            was, becomes
        )
        restart = {"session": peer.session, "holder": "seat-a", "sdp": text}
        assert await refused(messages.Restart, **restart) == "changed", becomes
    closed = await web.ask(messages.Close, session="gone", holder="seat-a")
    assert isinstance(closed, messages.Answered)
    await web.ask(messages.Close, session=peer.session, holder="seat-a")
    await eventually(lambda: web.last(messages.Published) is not None and web.published() == ())
    assert web.last(messages.Closed) is None, "what web asked for is no news"


async def test_a_forged_certificate_or_password_gets_nowhere(
    worker: WorkerProcess, raw: Make
) -> None:
    worker.web.desire(GRANTS)
    forger, stranger = raw(), raw()
    forger.fingerprint = stranger.fingerprint  # described, but not what the handshake shows
    answered = await worker.web.ask(
        messages.Publish, conference=SLUG, holder="seat-a", source="site:a", sdp=forger.offer()
    )
    description = forger.read(answered.sdp)
    stranger.read(answered.sdp)
    stranger.check(password="wrong")
    stranger.socket.setblocking(False)
    await asyncio.sleep(0.2)
    assert stranger.peer.binding.path is None and not stranger.packets
    forger.peer.binding.path = forger.server
    forger.ice.lead(forger.server, forger.peer.binding)
    forger.check()
    forger.peer.describe_remote(description.sections[0].fingerprints, client=False)
    forger.peer.handle_reachable()
    closed = await eventually(lambda: worker.web.last(messages.Closed))
    assert closed.reason == "failed" and closed.source == "site:a"
    assert "holder=seat-a from=127.0.0.1" in worker.process.logged("reason=failed")


async def test_a_second_publication_takes_over_and_revoked_ones_end(
    worker: WorkerProcess, raw: Make
) -> None:
    web, first, second, page = worker.web, raw(), raw(), raw()
    web.desire(GRANTS, stage="site:a")
    await first.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    first.send_video(1, 0, PARAMETERS + b"first")
    await eventually(lambda: len(page.got("stage")) == 1)
    await second.publish(worker, "encoder", "site:a")
    closed = await eventually(lambda: web.last(messages.Closed))
    assert (closed.session, closed.holder, closed.reason) == (first.session, "seat-a", "taken_over")
    second.send_video(500, 0, PARAMETERS + b"second")
    await eventually(lambda: page.got("stage")[-1][1] == PARAMETERS + b"second")
    await eventually(
        lambda: [(p.session, p.holder) for p in web.published()] == [(second.session, "encoder")]
    )

    rest = {name: grant for name, grant in GRANTS.items() if name != "encoder"}
    web.desire(rest, stage="site:a")
    closed = await eventually(lambda: web.last(messages.Closed, reason="revoked"))
    assert closed.session == second.session
    slots = await eventually(
        lambda: (s := web.last(messages.Slots)) and s.slots["stage"] is None and s
    )
    assert slots.session == page.session
    web.send(messages.Desired(SLUG, 1, GRANTS, stage="site:b"))  # late: a lower revision
    answer = await web.ask(
        messages.Publish, conference=SLUG, holder="encoder", source="site:a", sdp=second.offer()
    )
    assert isinstance(answer, messages.Refused) and answer.code == "forbidden"


async def test_who_is_not_connected_takes_over_from_nobody(
    worker: WorkerProcess, raw: Make
) -> None:
    web, first, page = worker.web, raw(), raw()
    web.desire(GRANTS, stage="site:a")
    await first.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")

    async def describe(peer: RawPeer) -> messages.Answered:
        """As where no media gets through: its description is taken, no packet ever comes."""
        answered = await web.ask(
            messages.Publish, conference=SLUG, holder="encoder", source="site:a", sdp=peer.offer()
        )
        assert isinstance(answered, messages.Answered)
        return answered

    third = raw()
    before = (await describe(raw())).session
    answered = await describe(third)
    closed = await eventually(lambda: web.last(messages.Closed))
    assert (closed.session, closed.reason) == (before, "taken_over"), "one waits at most"
    first.send_video(1, 0, PARAMETERS + b"still")
    await eventually(lambda: page.got("stage")[-1:] and page.got("stage")[-1][1][-5:] == b"still")
    await eventually(lambda: [p.session for p in web.published()] == [first.session])

    # Its place is free before it is connected: it has it, and shows once it sends.
    await web.ask(messages.Close, session=first.session, holder="seat-a")
    await eventually(lambda: [p.session for p in web.published()] == [answered.session])
    await third.connect(third.read(answered.sdp))
    third.send_video(500, 0, PARAMETERS + b"third")
    await eventually(lambda: page.got("stage")[-1][1] == PARAMETERS + b"third")

    # Who waits may be sent away, and may go, as one who publishes.
    waiting = (await describe(raw())).session
    await web.ask(messages.Close, session=waiting, holder="encoder")
    waiting = (await describe(raw())).session
    rest = {name: grant for name, grant in GRANTS.items() if name != "encoder"}
    web.desire(rest | {"seat-a": SITE_A}, stage="site:a")
    await eventually(lambda: web.last(messages.Closed, session=waiting, reason="revoked"))


async def test_only_the_floor_is_heard_and_never_in_its_own_room(
    worker: WorkerProcess, raw: Make
) -> None:
    web = worker.web
    sites = {name: raw() for name in "abcd"}
    web.desire(GRANTS, floor=("site:a",))
    for name, peer in sites.items():
        await peer.publish(worker, f"seat-{name}", f"site:{name}")
    room, display = raw(), raw()
    await room.receive(worker, "seat-a")
    await display.receive(worker, "display")

    async def talk(turns: int = 15, **levels: int) -> None:
        for i in range(turns):
            for name, peer in sites.items():
                peer.send_audio(talk.count * 100 + i, name.encode(), levels.get(name, 30))
            await asyncio.sleep(0.02)
        talk.count += 1

    talk.count = 0

    def heard(page: RawPeer) -> set[bytes]:
        return {payload for i in range(3) for _, payload in page.got(f"audio{i}")}

    async def talk_until(true: Callable[[], bool]) -> None:
        for _ in range(20):  # what is desired takes effect at its own time
            await talk()
            if true():
                return
            display.packets.clear()
        raise AssertionError(f"{heard(display)}, in the room {heard(room)}")

    await talk_until(lambda: heard(display) == {b"a"})
    assert heard(room) == set()
    speaking = await eventually(lambda: web.last(messages.Speaking))
    assert speaking.sources == ("site:a",)

    web.desire(GRANTS, floor=("site:a", "site:b"))
    await talk_until(lambda: heard(display) == {b"a", b"b"} and heard(room) == {b"b"})

    web.desire(GRANTS, floor=())
    await eventually(
        lambda: set(web.last(messages.Slots, session=display.session).slots.values()) == {None}
    )
    display.packets.clear()
    await talk()
    assert heard(display) == set()

    # Four hold the floor: the loudest three are heard, each in one slot of its own.
    web.desire(GRANTS, floor=("site:a", "site:b", "site:c", "site:d"))
    for _ in range(10):  # levels are steadied over time, and a busy machine stutters
        await talk(15, a=60, b=20, c=20, d=20)
        await asyncio.sleep(0.1)
        spoken = heard(display)
        if spoken == {b"b", b"c", b"d"}:
            break
        display.packets.clear()
    assert spoken == {b"b", b"c", b"d"}
    for i in range(3):
        assert len({payload for _, payload in display.got(f"audio{i}")}) == 1
    web.received.clear()
    web.desire(GRANTS, floor=())
    await eventually(lambda: web.last(messages.Speaking, sources=()))
    web.desire(GRANTS, floor=("site:a", "site:b", "site:c", "site:d"))
    for _ in range(20):  # who speaks and is not heard is not named
        await talk(15, a=30, b=20, c=20, d=20)
        told = web.last(messages.Speaking)
        if told.sources == ("site:b", "site:c", "site:d"):
            break
    assert told.sources == ("site:b", "site:c", "site:d")
    assert all(len(m.sources) <= 3 for m in web.received if isinstance(m, messages.Speaking))


async def test_an_encoder_that_tells_no_levels_goes_before_silent_rooms(
    worker: WorkerProcess, raw: Make
) -> None:
    sites = {name: raw() for name in "abcd"}
    worker.web.desire(GRANTS, floor=("site:b", "site:c", "site:d", "site:a"))
    for name, peer in sites.items():
        await peer.publish(worker, f"seat-{name}", f"site:{name}")
    display = raw()
    await display.receive(worker, "display")
    heard: set[bytes] = set()
    for number in range(500):
        for name, peer in sites.items():
            level = None if name == "a" else 60
            peer.send_audio(number, name.encode(), level)
        await asyncio.sleep(0.02)
        heard = {payload for i in range(3) for _, payload in display.got(f"audio{i}")}
        if b"a" in heard:
            break
    assert b"a" in heard


async def test_web_may_die_and_silent_peers_end(worker: WorkerProcess, raw: Make) -> None:
    web = worker.web
    web.desire(GRANTS, stage="site:a", floor=("site:a",))
    a, page = raw(), raw()
    await a.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    await a.pump(5)
    await eventually(lambda: page.got("stage"))
    await web.close()
    page.packets.clear()
    await a.pump(5, start=5)
    await eventually(lambda: len(page.got("stage")) == 10)

    web.received.clear()
    await web.connect(worker.control)
    published = await eventually(lambda: web.last(messages.Published))
    assert [p.source for p in published.publications] == ["site:a"]
    slots = await eventually(lambda: web.last(messages.Slots))
    assert slots.slots["stage"] == "site:a" and slots.session == page.session

    web.received.clear()
    for _ in range(25):  # longer than the silence that is allowed: checks alone keep the page
        page.check()
        await asyncio.sleep(0.1)
    closed = await eventually(lambda: web.last(messages.Closed))
    assert (closed.reason, closed.source) == ("silent", "site:a")
    assert closed.session == a.session
    assert web.last(messages.Closed, session=page.session) is None
    await eventually(lambda: web.published() == ())
    web.send(messages.Forget(SLUG))
    closed = await eventually(lambda: web.last(messages.Closed, session=page.session))
    assert closed.reason == "revoked"


async def test_a_killed_worker_is_replaced_on_its_sockets(raw: Make) -> None:
    process = Process()
    worker = WorkerProcess(process)
    await worker.start()
    worker.web.desire(GRANTS)
    await raw().publish(worker, "seat-a", "site:a")
    process.kill()
    await eventually(lambda: not worker.web.connected)
    process.start()
    await worker.web.connect(worker.control)
    worker.web.desire(GRANTS, stage="site:a")
    again, page = raw(), raw()
    await again.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    await again.pump(20)
    await eventually(lambda: page.got("stage"))
    await worker.stop()
    process.stop()


@pytest.mark.parametrize(("name", "told"), [("-", ["left"]), ("FFmpegPublishSession", [])])
async def test_a_publisher_is_told_of_its_end_unless_that_makes_it_hang(
    worker: WorkerProcess, raw: Make, name: str, told: list[str]
) -> None:
    first, second, ends = raw(), raw(), []
    worker.web.desire(GRANTS, stage="site:a")
    first.peer.on_ended = ends.append
    await first.publish(worker, "seat-a", "site:a", name=name, setup="passive")
    await second.publish(worker, "encoder", "site:a")
    await eventually(lambda: worker.web.last(messages.Closed))
    if told:
        await eventually(lambda: ends == told)
    else:
        await second.pump(25)
        assert ends == []
