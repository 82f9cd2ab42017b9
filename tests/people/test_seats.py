"""Coming in by code, PIN and link; one phone a person; being turned away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.conferences import joining
from server.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    NotFound,
    SlowDown,
    Unauthenticated,
)
from server.people import links, tries
from server.people.seats import actor_of_seat, find_seat
from server.permissions import Permission, Role, Target, may
from server.protocol import (
    AdmitDisplay,
    CheckIn,
    CreateLink,
    Dismiss,
    ResetPhone,
    RevokeLink,
    RevokeSeat,
)
from tests.play import Play


def join(play: Play, code: str, device: str = "a phone"):
    return joining.join_by_code(
        play.session, play.conference.join_code.lower(), code, device, play.now
    )


def test_a_code_seats_its_person_at_their_site(play: Play) -> None:
    assert (play.an.site_id, play.an.person_id) == (play.hue, play.person("0001").id)
    assert play.an.name == "Nguyễn Văn An"
    assert play.sees(play.an)["me"]["unit"] == "Phường Thuận Hòa"


def test_a_phone_is_bound_at_first_use(play: Play) -> None:
    seat, _ = join(play, "00-01", "phone of 0001")
    with pytest.raises(Conflict):
        join(play, "0001", "somebody else's phone")
    for each in (seat.id, play.an.holder):
        assert play.does(play.hoa, RevokeSeat(seat=each)) == {"revoked": [each]}
    taken_over, _ = join(play, "0001", "a new phone")
    assert taken_over.person_id == play.an.person_id
    with pytest.raises(Invalid):
        join(play, "0001", "")


def test_a_rooms_operator_frees_a_person_of_their_phone(play: Play) -> None:
    person = play.an.person_id
    assert person is not None
    with pytest.raises(Forbidden):
        play.does(play.o_dong_ha, ResetPhone(person=person))
    assert play.does(play.o_hue, ResetPhone(person=person)) == {"revoked": [play.an.holder]}
    with pytest.raises(Conflict):
        play.does(play.hoa, ResetPhone(person=person))
    seat, secret = join(play, "0001", "a new phone")
    assert actor_of_seat(play.session, seat.id, secret, play.now).person_id == person
    with pytest.raises(NotFound):
        play.does(play.hoa, ResetPhone(person=99))


def test_wrong_codes_are_counted_by_device(play: Play) -> None:
    for _ in range(tries.CODE.free):
        with pytest.raises(NotFound):
            join(play, "1", "a guesser")
    with pytest.raises(SlowDown):
        join(play, "0001", "a guesser")
    assert join(play, "0001", "phone of 0001")
    play.later(tries.CODE.wait_s)
    with pytest.raises(NotFound):
        join(play, "1", "a guesser")


def test_nobody_comes_in_while_it_is_not_open(play: Play) -> None:
    play.moves_to("scheduled")
    with pytest.raises(Conflict):
        join(play, "0001", "phone of 0001")
    with pytest.raises(Conflict):
        joining.check_pin(play.session, play.conference.join_code, play.conference.pin, play.now)


def test_who_never_came_gets_a_seat_for_the_replay_and_no_presence(play: Play) -> None:
    play.does(play.hoa, ResetPhone(person=play.binh.person_id))
    play.moves_to("live", "ended")
    seat, secret = join(play, "0002", "a phone at home")
    late = actor_of_seat(play.session, seat.id, secret, play.now)
    assert may(late, Permission.SEE_REPLAY, Target(late.conference_id, late.site_id))
    with pytest.raises(Conflict):
        play.does(late, CheckIn())
    with pytest.raises(Conflict) as bound:
        join(play, "0001", "another phone")
    assert "xem lại" in bound.value.message
    with pytest.raises(Conflict):
        by_pin(play, Role.OPERATOR)
    play.conference.recording = None
    with pytest.raises(Conflict):
        join(play, "0002", "a phone at home")


def test_a_wrong_try_says_how_many_are_left_and_the_last_how_long_to_wait(play: Play) -> None:
    said = []
    for _ in range(tries.CODE.free):
        with pytest.raises(NotFound) as wrong:
            join(play, "1", "a guesser")
        said.append((wrong.value.values["left"], wrong.value.retry_after_s))
    assert said == [(4, None), (3, None), (2, None), (1, None), (0, tries.CODE.wait_s)]
    assert "giây" in wrong.value.message
    for _ in range(3):
        play.now += timedelta(seconds=tries.CODE.longest_wait_s)
        with pytest.raises(NotFound) as wrong:
            join(play, "1", "a guesser")
    assert "%(minutes)d phút" in wrong.value.message and wrong.value.values["minutes"] == 4


def by_pin(play: Play, role: Role, pin: str | None = None, site: int | None = None):
    conference = play.conference
    return joining.join_by_pin(
        play.session,
        conference.join_code,
        pin or conference.pin,
        site or play.hue,
        role,
        "a room's PC",
        play.now,
    )


def test_a_display_by_pin_waits_to_be_let_in(play: Play) -> None:
    waiting = by_pin(play, Role.DISPLAY)
    seat, secret = waiting.result["seat"], waiting.result["secret"]
    assert [type(e.event).type for e in waiting.emits] == ["seat.asked"]
    with pytest.raises(Forbidden):
        actor_of_seat(play.session, seat, secret, play.now)
    assert find_seat(play.session, seat, secret).site_id == play.hue
    assert seat in play.sees(play.o_hue)["admissions"]
    assert seat not in play.sees(play.o_dong_ha)["admissions"]
    with pytest.raises(Forbidden):
        play.does(play.o_dong_ha, AdmitDisplay(seat=seat))
    play.does(play.o_hue, AdmitDisplay(seat=seat))
    assert actor_of_seat(play.session, seat, secret, play.now).role is Role.DISPLAY
    with pytest.raises(Conflict):
        play.does(play.o_hue, AdmitDisplay(seat=seat))


def test_a_display_may_be_turned_away(play: Play) -> None:
    for command in (lambda s: AdmitDisplay(seat=s, admit=False), lambda s: RevokeSeat(seat=s)):
        waiting = by_pin(play, Role.DISPLAY).result
        play.does(play.hoa, command(waiting["seat"]))
        assert play.told() == ["seat.admitted"]
        with pytest.raises(Unauthenticated):
            find_seat(play.session, waiting["seat"], waiting["secret"])


def test_an_operator_by_pin_is_in_at_once_and_no_other_role_is(play: Play) -> None:
    made = by_pin(play, Role.OPERATOR).result
    assert actor_of_seat(play.session, made["seat"], made["secret"], play.now).site_id == play.hue
    with pytest.raises(Invalid):
        by_pin(play, Role.MODERATOR)


def test_wrong_pins_lock_the_conference_for_a_while(play: Play) -> None:
    for _ in range(tries.PIN.free):
        with pytest.raises(Forbidden):
            by_pin(play, Role.OPERATOR, pin="wrong")
    with pytest.raises(SlowDown):
        by_pin(play, Role.OPERATOR)
    play.later(tries.PIN.wait_s)
    assert by_pin(play, Role.OPERATOR)


def link(play: Play, role: str, site: int | None = None) -> tuple[str, int]:
    made = play.does(play.hoa, CreateLink(role=role, site=site))
    return made["token"], made["link"]


def test_an_operators_link_works_once_but_for_its_own_browser(play: Play) -> None:
    token, _ = link(play, "operator", play.hue)
    seat, secret = links.redeem(play.session, token, play.now, "the room's PC")
    assert actor_of_seat(play.session, seat.id, secret, play.now).site_id == play.hue
    assert links.redeem(play.session, token, play.now, "the room's PC")
    with pytest.raises(Conflict):
        links.redeem(play.session, token, play.now, "another")


def test_a_displays_link_works_until_it_is_revoked_with_its_seats(play: Play) -> None:
    token, link_id = link(play, "display", play.hue)
    seats = [links.redeem(play.session, token, play.now, d) for d in ("one", "two")]
    revoked = play.does(play.hoa, RevokeLink(link=link_id))["revoked"]
    assert set(revoked) == {seat.id for seat, _ in seats}
    for seat, secret in seats:
        with pytest.raises(Unauthenticated):
            actor_of_seat(play.session, seat.id, secret, play.now)
    with pytest.raises(NotFound):
        links.redeem(play.session, token, play.now, "one")


def test_links_expire(play: Play) -> None:
    token, _ = link(play, "display", play.hue)
    with pytest.raises(NotFound):
        links.find_link(play.session, token, play.conference.ends_at + timedelta(days=2))


def test_an_encoders_token_is_no_page(play: Play) -> None:
    token, _ = link(play, "encoder", play.hue)
    actor = links.actor_of_bearer(play.session, token, play.now)
    assert (actor.role, actor.site_id) == (Role.ENCODER, play.hue)
    with pytest.raises(Forbidden):
        links.redeem(play.session, token, play.now, "a browser")
    page, _ = link(play, "display", play.hue)
    with pytest.raises(Unauthenticated):
        links.actor_of_bearer(play.session, page, play.now)


@pytest.mark.parametrize(("role", "site"), [("operator", None), ("trainee", 1), ("display", 99)])
def test_links_that_make_no_sense(play: Play, role: str, site: int | None) -> None:
    with pytest.raises((Invalid, NotFound)):
        play.does(play.hoa, CreateLink(role=role, site=site))


def test_the_wrong_secret_is_nobody(play: Play) -> None:
    with pytest.raises(Unauthenticated):
        actor_of_seat(play.session, play.an.holder, "a guess", play.now)


def test_the_appointed_take_their_seat_until_dismissed(play: Play) -> None:
    account = play.lan.account_id
    assert account is not None
    take = lambda role: joining.join_by_appointment(  # noqa: E731
        play.session, play.conference_id, account, role, play.now
    )
    with pytest.raises(Forbidden):
        take(Role.MODERATOR)
    seat, secret = take(Role.SPEAKER)
    made_for = (Role.SPEAKER, play.conference_id, play.now, play.now + timedelta(days=1))
    _, token = links.create_link(play.session, *made_for, account_id=account)
    mine = play.sees(play.lan)["me"]["appointment"]
    del play.watched["lan"]  # she leaves
    revoked = play.does(play.hoa, Dismiss(appointment=mine))["revoked"]
    assert set(revoked) == {seat.id, play.lan.holder}
    with pytest.raises(DomainError):
        take(Role.SPEAKER)
    with pytest.raises(NotFound):
        links.find_link(play.session, token, play.now)
