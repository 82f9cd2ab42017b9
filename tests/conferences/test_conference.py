"""A conference is made, prepared, held and ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.errors import Conflict, Forbidden, Invalid, NotFound
from server.people.accounts import actor_of_account
from server.permissions import Role
from server.protocol import (
    AddSite,
    AgendaEntry,
    Appoint,
    CreateConference,
    DeclineRequest,
    Dismiss,
    GiveFloor,
    MuteSite,
    Present,
    RemoveSite,
    RequestFloor,
    SetAgenda,
    ShowOnStage,
    StartItem,
    TakeFloor,
    UpdateConference,
    UpdateSite,
    WithdrawRequest,
)
from server.recordings.markers import markers
from server.recordings.models import Recording
from tests.play import NOON, Play


def draft(title: str = "Hội nghị tập huấn", **changes) -> CreateConference:
    times = {"starts_at": NOON, "ends_at": NOON + timedelta(hours=4)}
    return CreateConference(title=title, **{**times, **changes})


def test_only_an_organisers_account_makes_one(play: Play) -> None:
    guest = play.account("khach")
    for actor in (actor_of_account(guest), play.mai, play.an):
        with pytest.raises(Forbidden):
            play.does(actor, draft())


def test_a_draft_has_an_address_codes_and_its_maker(play: Play) -> None:
    maker = actor_of_account(play.hoas_account)
    made = [play.does(maker, draft())["conference"] for _ in range(2)]
    assert made == ["hoi-nghi-tap-huan", "hoi-nghi-tap-huan-2"]
    assert play.told() == ["conference.created", "conference.appointed"]
    with pytest.raises(Conflict):
        play.does(maker, draft(slug="hoi-nghi-tap-huan"))
    for wrong in ({"ends_at": NOON}, {"timezone": "Mặt/Trăng"}, {"title": "  "}):
        with pytest.raises(Invalid):
            play.does(maker, draft(**wrong))


def test_it_may_be_changed_until_it_has_ended(play: Play) -> None:
    change = UpdateConference(title="Tên mới", starts_at=NOON, ends_at=NOON + timedelta(hours=1))
    play.does(play.hoa, change)
    assert play.sees(play.an)["conference"]["title"] == "Tên mới"
    with pytest.raises(Forbidden):
        play.does(play.mai, change)
    play.moves_to("live", "ended")
    with pytest.raises(Conflict):
        play.does(play.hoa, change)


def test_live_begins_the_recording_once(play: Play) -> None:
    play.moves_to("live")
    began, recording = play.now, play.conference.recording
    assert recording and play.session.get_one(Recording, recording).zero_at == began
    play.later(60)
    play.moves_to("paused", "live")
    assert (play.conference.live_at, play.conference.recording) == (began, recording)
    play.moves_to("ended")
    assert play.session.get_one(Recording, recording).ended_at == play.now


def test_appointments(play: Play) -> None:
    with pytest.raises(Conflict):
        play.does(play.hoa, Appoint(username="mai", role="moderator"))
    with pytest.raises(NotFound):
        play.does(play.hoa, Appoint(username="ai đó", role="speaker"))
    appointments = play.sees(play.hoa)["appointments"].values()
    (hoas,) = (a["id"] for a in appointments if a["role"] == "organiser")
    with pytest.raises(Conflict):
        play.does(play.hoa, Dismiss(appointment=hoas))
    advising = play.does(play.hoa, Appoint(username="Minh", role="advisor"))["appointment"]
    play.does(play.hoa, Dismiss(appointment=advising))
    with pytest.raises(NotFound):
        play.does(play.hoa, Dismiss(appointment=advising))
    again = play.does(play.hoa, Appoint(username="minh", role="advisor"))["appointment"]
    assert again == advising


def entry(title: str, minutes: int, **more) -> AgendaEntry:
    starts_at = NOON + timedelta(minutes=minutes)
    return AgendaEntry(
        title=title, starts_at=starts_at, ends_at=starts_at + timedelta(minutes=30), **more
    )


def test_the_agenda_is_replaced_and_keeps_what_it_names(play: Play) -> None:
    first, second = play.does(
        play.hoa, SetAgenda(items=(entry("Khai mạc", 0), entry("Bài 1", 30)))
    )["items"]
    kept = play.does(
        play.hoa, SetAgenda(items=(entry("Bài 1 (sửa)", 0, id=second), entry("Bài 2", 30)))
    )["items"]
    agenda = play.sees(play.an)["agenda"]
    assert kept[0] == second and str(first) not in agenda
    assert agenda[str(second)]["title"] == "Bài 1 (sửa)" and agenda[str(second)]["position"] == 1
    with pytest.raises(NotFound):
        play.does(play.hoa, SetAgenda(items=(entry("Mất", 0, id=first),)))
    with pytest.raises(Invalid):
        play.does(play.hoa, SetAgenda(items=(entry("A", 0, id=second), entry("B", 0, id=second))))


def test_one_item_is_under_way_and_the_end_ends_it(play: Play) -> None:
    one, two = play.does(play.hoa, SetAgenda(items=(entry("A", 0), entry("B", 30))))["items"]
    with pytest.raises(Conflict):
        play.does(play.mai, StartItem(item=one))
    play.moves_to("live")
    play.later(10)
    play.does(play.mai, StartItem(item=one))
    play.later(10)
    play.does(play.mai, StartItem(item=two))
    assert play.told() == ["agenda.item_ended", "agenda.item_started", "agenda.moved"]
    with pytest.raises(Conflict):
        play.does(play.hoa, SetAgenda(items=(entry("A", 0, id=one),)))
    play.later(10)
    play.moves_to("ended")
    assert play.conference.item_id is None
    recording = play.session.get_one(Recording, play.conference.recording)
    stretches = [(m.at_ms, m.end_ms, m.title) for m in markers(play.session, recording)]
    assert stretches == [(10_000, 20_000, "A"), (20_000, 30_000, "B")]


def test_sites_come_and_go_before_there_is_a_history(play: Play) -> None:
    made = play.does(play.hoa, AddSite(name="Huệ", kind="online"))
    assert made["slug"] == "hue-2"
    with pytest.raises(Conflict):
        play.does(play.hoa, AddSite(name="Khác", slug="hue"))
    play.does(play.hoa, UpdateSite(site=made["site"], name="Từ xa", kind="online"))
    with pytest.raises(Conflict):
        play.does(play.hoa, RemoveSite(site=made["site"]))  # the lobby is open
    play.moves_to("scheduled")
    play.does(play.hoa, RemoveSite(site=made["site"]))
    with pytest.raises(Conflict):
        play.does(play.hoa, RemoveSite(site=play.hue))  # people are expected there
    with pytest.raises(NotFound):
        play.does(play.hoa, RemoveSite(site=made["site"]))


def test_sites_have_names_that_differ_by_more_than_case_and_spacing(play: Play) -> None:
    for name in ("Huế", " đông   HÀ ", "Hue\u0302\u0301"):
        with pytest.raises(Conflict):
            play.does(play.hoa, AddSite(name=name))
    with pytest.raises(Conflict):
        play.does(play.hoa, UpdateSite(site=play.hue, name="đông hà", kind="main"))
    play.does(play.hoa, UpdateSite(site=play.hue, name="HUẾ", kind="main"))  # its own


def test_the_floor_moves_with_the_stage_and_time_is_kept(play: Play) -> None:
    play.moves_to("live")
    play.does(play.mai, GiveFloor(site=play.hue))
    assert play.conference.stage == "site:hue"
    play.later(30)
    play.does(play.mai, GiveFloor(site=play.dong_ha))
    assert play.told() == ["floor.taken", "floor.given", "stage.shown"]
    assert play.site(play.hue).spoken_s == 30 and play.site(play.hue).floor_since is None
    play.does(play.mai, GiveFloor(site=play.hue, alone=False, stage=False))
    assert play.conference.stage == "site:dong-ha"
    play.later(5)
    play.does(play.mai, TakeFloor(site=play.hue))
    assert play.site(play.hue).spoken_s == 35
    play.does(play.mai, TakeFloor(site=play.hue))
    assert play.told() == []
    with pytest.raises(Forbidden):
        play.does(play.o_hue, GiveFloor(site=play.hue))


def test_the_stage_shows_sites_of_this_conference_that_publish(play: Play) -> None:
    play.does(play.mai, ShowOnStage(source="site:hue"))
    play.does(play.mai, Present(source="site:hue:screen"))
    with pytest.raises(Conflict):
        play.does(play.hoa, UpdateSite(site=play.hue, name="Huế", kind="online"))
    play.does(play.hoa, AddSite(name="Từ xa", kind="online"))
    with pytest.raises(Conflict):
        play.does(play.mai, ShowOnStage(source="site:tu-xa"))
    with pytest.raises(NotFound):
        play.does(play.mai, ShowOnStage(source="site:da-nang"))
    play.does(play.mai, ShowOnStage(source=None))
    assert play.conference.stage is None


def test_a_room_raises_its_hand_once_and_is_heard(play: Play) -> None:
    with pytest.raises(Conflict):
        play.does(play.o_hue, RequestFloor())  # not live yet
    play.moves_to("live")
    play.does(play.o_hue, RequestFloor(reason="Có ý kiến"))
    with pytest.raises(Conflict):
        play.does(play.o_hue, RequestFloor())
    play.does(play.mai, GiveFloor(site=play.hue))
    assert "floor.request_closed" in play.told()
    with pytest.raises(Conflict):
        play.does(play.o_hue, RequestFloor())  # it holds the floor
    asked = play.does(play.o_dong_ha, RequestFloor())["request"]
    play.does(play.mai, DeclineRequest(request=asked))
    with pytest.raises(Conflict):
        play.does(play.mai, DeclineRequest(request=asked))
    play.does(play.o_dong_ha, RequestFloor())
    play.does(play.o_dong_ha, WithdrawRequest())
    with pytest.raises(Conflict):
        play.does(play.o_dong_ha, WithdrawRequest())


def test_the_end_takes_floor_stage_and_hands(play: Play) -> None:
    play.moves_to("live")
    play.does(play.mai, GiveFloor(site=play.hue))
    play.does(play.mai, Present(source="site:hue:screen"))
    play.does(play.o_dong_ha, RequestFloor())
    play.later(60)
    play.moves_to("ended")
    assert play.site(play.hue).spoken_s == 60
    seen = play.sees(play.an)
    assert seen["requests"] == {} and seen["conference"]["stage"] is None
    assert seen["conference"]["presentation"] is None
    with pytest.raises(Conflict):
        play.does(play.mai, GiveFloor(site=play.hue))


def test_muting(play: Play) -> None:
    play.does(play.mai, MuteSite(site=play.hue, muted=True))
    assert play.sees(play.display)["sites"][str(play.hue)]["muted"] is True
    play.does(play.mai, MuteSite(site=play.hue, muted=True))
    assert play.told() == []


def test_a_conference_knows_no_other(play: Play) -> None:
    made = play.does(actor_of_account(play.hoas_account), draft())
    here, play.conference_id = play.conference_id, made["id"]
    stranger = play.seat(Role.ORGANISER, account_id=play.hoas_account.id)
    play.conference_id = here
    for command in (
        GiveFloor(site=play.hue),
        UpdateSite(site=play.hue, name="x", kind="main"),
        MuteSite(site=play.hue, muted=True),
    ):
        with pytest.raises((NotFound, Conflict)):
            play.does(stranger, command)
