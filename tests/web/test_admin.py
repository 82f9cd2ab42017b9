"""Whether the server is well: judged in words, for who keeps it; figures for near networks."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server.errors import DomainError
from server.i18n import read_languages
from server.media.faults import Fault
from server.web import health, vitals
from server.web.admin import STATE_WORDS, VERDICTS, _told
from server.web.health import free_bytes
from server.web.site import SITE
from server.web.vitals import Window, sample
from server.web.wellness import Facts, State, judge, overall
from tests.db.test_outage import away, locked
from tests.web.conftest import House
from tests.web.organising import Organiser

DOCS = Path(__file__).parents[2] / "docs" / "deployment.md"
_OF_SOCKETS = ("server.errors", "server.signalling")
sqlite_alone = pytest.mark.parametrize("kind", ["sqlite"])


class Meters:
    """The metrics that are judged, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept: dict[str, Any] = {"registry": self.registry}
        bounds = {"buckets": (0.005, 0.1, 0.5, 2.5)}
        self.loop = Histogram(vitals.LOOP, "x", **bounds, **kept)
        self.batch = Histogram(vitals.BATCH, "x", buckets=(1, 16, 256), **kept)
        self.commit = Histogram(vitals.COMMIT, "x", **bounds, **kept)
        self.sockets = Gauge(vitals.SOCKETS, "x", **kept)
        self.queued = Gauge(vitals.QUEUED, "x", **kept)
        self.cut_off = Counter(vitals.CUT_OFF, "x", **kept)
        self.resyncs = Counter(vitals.RESYNCS, "x", ["how"], **kept)
        self.refused = Counter(vitals.REFUSED, "x", ["code"], **kept)
        # What happened before the last minute counts no more.
        self.commit.observe(9)
        self.refused.labels("slow_down").inc(7)
        self.before = sample(0.0, self.registry)

    def facts(self, **changes: Any) -> Facts:
        """Of a server that is well but for ``changes``."""
        window = Window(self.before.values, sample(60.0, self.registry).values)
        well: dict[str, Any] = {
            "window": window,
            "database": "ok",
            "last_outage": None,
            "waiting": 0,
            "workers": [True],
            "recorders": [True],
            "restarts": {"web": 0, "worker-0": 0, "recorder-0": 0},
            "free_bytes": 100 * 10**9,
        }
        return Facts(**(well | changes))


def states(facts: Facts) -> dict[str, State]:
    """By the name of the part, without those that are well."""
    judged = {each.name: each.state for each in judge(facts)}
    return {name: state for name, state in judged.items() if state is not State.GOOD}


def test_a_server_that_nobody_uses_yet_is_well() -> None:
    facts = Meters().facts(workers=[], recorders=[])
    assert set(states(facts).values()) == {State.IDLE}
    assert overall(judge(facts)) is State.GOOD


def test_only_the_last_minute_counts() -> None:
    meters = Meters()
    meters.loop.observe(0.001)
    meters.commit.observe(0.002)
    meters.sockets.set(3)
    meters.refused.labels("invalid").inc(2)
    assert states(meters.facts()) == {}
    window = meters.facts().window
    assert window.by_label(vitals.REFUSED) == {"invalid": 2}
    assert window.quantile(vitals.COMMIT, 1.0) == 0.005
    meters.commit.observe(99)
    assert meters.facts().window.quantile(vitals.COMMIT, 1.0) == math.inf


@pytest.mark.parametrize(
    ("changes", "name", "state"),
    [
        ({"database": health.SILENT}, "Cơ sở dữ liệu", State.WRONG),
        ({"database": health.READS_ALONE}, "Cơ sở dữ liệu", State.WRONG),
        ({"database": health.FULL}, "Cơ sở dữ liệu", State.WRONG),
        ({"waiting": 1001}, "Lệnh đang chờ ghi", State.WATCH),
        ({"waiting": 6001}, "Lệnh đang chờ ghi", State.WRONG),
        ({"workers": [True, False]}, "Bộ chuyển tiếp hình tiếng", State.WRONG),
        ({"recorders": [False]}, "Bộ ghi hình", State.WRONG),
        ({"restarts": {"web": 3}}, "Máy chủ web", State.WATCH),
        ({"restarts": {"worker-0": 3}}, "Bộ chuyển tiếp hình tiếng", State.WATCH),
        ({"restarts": {"recorder-0": 3}}, "Bộ ghi hình", State.WATCH),
        ({"free_bytes": 10 * 10**9}, "Đĩa cho bản ghi", State.WATCH),
        ({"free_bytes": 3 * 10**9}, "Đĩa cho bản ghi", State.WRONG),
        ({"free_bytes": None}, "Đĩa cho bản ghi", State.WRONG),
    ],
)
def test_each_part_has_its_limit(changes: dict[str, Any], name: str, state: State) -> None:
    meters = Meters()
    meters.loop.observe(0.001)
    meters.commit.observe(0.002)
    meters.sockets.set(1)
    facts = meters.facts(**changes)
    assert states(facts) == {name: state} and overall(judge(facts)) is state


@pytest.mark.parametrize(
    ("trouble", "name", "state"),
    [
        (lambda m: m.loop.observe(0.3), "Độ trễ xử lý", State.WATCH),
        (lambda m: m.loop.observe(7), "Độ trễ xử lý", State.WRONG),
        (lambda m: m.commit.observe(1), "Thời gian ghi", State.WATCH),
        (lambda m: m.commit.observe(7), "Thời gian ghi", State.WRONG),
        (lambda m: m.cut_off.inc(), "Dữ liệu chưa nhận", State.WATCH),
        (lambda m: m.queued.set(1 << 30), "Dữ liệu chưa nhận", State.WATCH),
        (lambda m: m.refused.labels("slow_down").inc(), "Lệnh bị từ chối", State.WATCH),
        (lambda m: m.refused.labels("unavailable").inc(), "Lệnh bị từ chối", State.WATCH),
        (lambda m: m.refused.labels("broken").inc(), "Lệnh bị từ chối", State.WRONG),
    ],
)
def test_each_figure_has_its_limit(trouble: Any, name: str, state: State) -> None:
    meters = Meters()
    for _ in range(10):
        meters.loop.observe(0.001)
        meters.commit.observe(0.002)
    meters.sockets.set(1)
    trouble(meters)
    assert states(meters.facts()) == {name: state}


@pytest.mark.parametrize("code", ["vi", "en"])
def test_every_finding_is_said_in_both_languages(code: str) -> None:
    language = read_languages()[code]
    busy = Meters()
    busy.loop.observe(7)
    busy.commit.observe(7)
    busy.cut_off.inc()
    wrong = busy.facts(database=health.SILENT, waiting=9999, workers=[False], free_bytes=None)
    locked, full = (Meters().facts(database=each) for each in (health.READS_ALONE, health.FULL))
    back = Meters().facts(last_outage=(130.0, 23.4))
    for facts in (
        wrong,
        locked,
        full,
        back,
        Meters().facts(),
        Meters().facts(workers=[], recorders=[]),
    ):
        for finding in judge(facts):
            row = _told(finding, language)
            assert row.sentence and "%" not in row.sentence
            assert bool(row.advice) == (finding.state in (State.WATCH, State.WRONG))
            if code == "en":
                words = (finding.name, finding.sentence, finding.advice)
                assert all(not each or each in language.messages for each in words), words
    assert code == "vi" or {*STATE_WORDS.values(), *VERDICTS.values()} <= language.messages.keys()


def test_an_outage_that_has_just_ended_was_not_zero_minutes_ago() -> None:
    for ago_s, minutes in ((16.0, 1), (130.0, 3)):
        finding = judge(Meters().facts(last_outage=(ago_s, 30.2)))[0]
        told = _told(finding, read_languages()["vi"]).sentence
        assert f"Trong {minutes} phút qua có lúc không ghi được, 31 giây" in told


@pytest.mark.parametrize("code", ["vi", "en"])
def test_every_refusal_is_said_in_words(code: str) -> None:
    """Those that a socket can be given: the tree of errors, and what signalling says of an offer."""
    language = read_languages()[code]
    kinds = {kind.code for kind in DomainError.__subclasses__() if kind.__module__ in _OF_SOCKETS}
    kinds = kinds - {DomainError.code} | {fault.code for fault in Fault}
    assert {"slow_down", "broken", "rtcp_mux"} <= kinds
    for kind in kinds | {"unheard_of"}:
        meters = Meters()
        meters.refused.labels(kind).inc(3)
        (finding,) = (each for each in judge(meters.facts()) if each.name == "Lệnh bị từ chối")
        row = _told(finding, language)
        other = "lý do khác" if code == "vi" else "another reason"
        assert kind not in row.sentence and ": 3" in row.sentence
        assert (other in row.sentence) == (kind == "unheard_of")


def test_the_worst_refusal_says_what_to_do() -> None:
    meters = Meters()
    for kind, count in (("invalid", 9), ("slow_down", 1), ("broken", 2)):
        meters.refused.labels(kind).inc(count)
    (finding,) = (each for each in judge(meters.facts()) if each.name == "Lệnh bị từ chối")
    row = _told(finding, read_languages()["vi"])
    assert row.state == "wrong" and "Nhật ký" in row.advice
    assert row.sentence == (
        "Một phút qua: 12, vì lỗi của chính máy chủ: 2; gửi quá nhanh hoặc quá nhiều cùng lúc: 1; "
        "dữ liệu không hợp lệ: 9."
    )


async def test_the_page_says_how_the_server_stands(house: House) -> None:
    organiser = await Organiser.sign_in(house)
    text = await organiser.get("/admin")
    assert "Máy chủ hoạt động tốt." in text and "Cơ sở dữ liệu" in text and "GB" in text
    assert 'href="/admin"' in await organiser.get("/conferences")
    await organiser.done("/language", {"lang": "en", "next": "/admin"}, page="/admin")
    text = await organiser.get("/admin")
    assert "The server is well." in text and "Database" in text and "Cơ sở" not in text


async def test_a_locked_database_is_told_though_nobody_writes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.5)
    organiser = await Organiser.sign_in(house)
    with locked(house.config.database_url):
        text = await _says(organiser, "Đọc được nhưng không ghi được.")
        assert "đang khóa cơ sở dữ liệu" in text and "Máy chủ có phần hỏng" in text
        assert "Xem: Cơ sở dữ liệu" in text
        answer, body = await house.browser().get("/healthz")
        assert answer.status == 503 and health.READS_ALONE in body
    if house.config.database_url.startswith("postgresql"):
        with away(house.config.database_url):
            text = await organiser.get("/admin", status=503)
            assert "Xem cơ sở dữ liệu còn chạy" in text, "though nobody knows who asks"
            text = await organiser.get("/conferences", status=503)
            assert "Hãy thử lại sau vài giây." in text
    await _says(organiser, "Máy chủ hoạt động tốt.")


@sqlite_alone
async def test_a_full_disk_is_told_before_anybody_writes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    organiser = await Organiser.sign_in(house)
    monkeypatch.setattr(health, "LEAST_BYTES", 1 << 60)
    assert "Đĩa đã đầy." in await organiser.get("/admin")
    answer, body = await house.browser().get("/healthz")
    assert answer.status == 503 and health.FULL in body


async def _says(organiser: Organiser, sentence: str) -> str:
    """The page, once it does."""
    async with asyncio.timeout(60):
        while sentence not in (text := await organiser.get("/admin")):
            await asyncio.sleep(0.1)
    return text


@sqlite_alone
@pytest.mark.parametrize("controls", [["/khong/co/worker.sock"]])
async def test_a_worker_that_is_away_is_told_with_what_to_do(house: House) -> None:
    text = await (await Organiser.sign_in(house)).get("/admin")
    assert "Máy chủ có phần hỏng" in text and 'data-state="wrong"' in text
    assert "Đang chạy: 0 trên 1" in text and "xem nhật ký" in text


@sqlite_alone
async def test_who_does_not_keep_the_server_does_not_see_it(house: House) -> None:
    assert (await house.browser().get("/admin"))[0].status == 303
    for actor in (house.cast.organiser, house.cast.moderator, house.cast.trainee):
        browser = house.browser()
        browser.take_seat(house.cast, actor.holder)
        assert (await browser.get("/admin"))[0].status == 303, "a seat is no account"


@sqlite_alone
async def test_figures_are_for_near_networks_and_name_nobody(house: House) -> None:
    browser = house.browser()
    for actor in (house.cast.moderator, house.cast.trainee):
        await browser.get(browser.take_seat(house.cast, actor.holder))
    answer, text = await browser.get("/metrics")
    assert answer.status == 200
    for name in ("Tập huấn", "Huế", "Minh", house.cast.moderator.holder, "@", "/s/"):
        assert name not in text, name
    far = {"X-Forwarded-For": "203.0.113.7"}
    answer, text = await browser.get("/metrics", headers=far)
    assert answer.status == 403 and "diemcau_" not in text
    site = house.server.app[SITE]
    site.config = site.config.with_(metrics_networks=("203.0.113.0/24",))
    assert (await browser.get("/metrics", headers=far))[0].status == 200
    assert (await browser.get("/metrics"))[0].status == 403


@sqlite_alone
async def test_every_metric_is_documented(house: House) -> None:
    _, text = await house.browser().get("/metrics")
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE diemcau_")}
    names = {name for name in names if not name.endswith("_created")}
    assert len(names) >= 14
    told = DOCS.read_text(encoding="utf-8")
    assert not {name for name in names if f"`{name}" not in told}


def test_the_disk_of_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    there = free_bytes(tmp_path)
    later = free_bytes(tmp_path / "not" / "yet")
    assert there and later and abs(there - later) < 1 << 30
    assert free_bytes(tmp_path / ("x" * 300)) is None, "a name that no disk takes"
