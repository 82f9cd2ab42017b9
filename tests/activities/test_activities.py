"""Quizzes: prepared, run by the server's clock, answered, charted, revealed."""

from __future__ import annotations

from itertools import product

import pytest

from server.activities import rules
from server.activities.models import Response
from server.activities.reports import results, scores
from server.errors import Conflict, Forbidden, Invalid, NotFound
from server.protocol import (
    Answer,
    CloseItem,
    CreateActivity,
    ExpireItems,
    FinishRun,
    LaunchActivity,
    NextItem,
    ProlongItem,
    QuizItem,
    RemoveActivity,
    RevealKey,
)
from server.recordings.markers import markers
from server.recordings.models import Recording
from tests.play import Play

STEPS = {
    ("open", "respond"): "open",
    ("open", "prolong"): "open",
    ("open", "close"): "closed",
    ("open", "next"): "open",
    ("open", "finish"): "finished",
    ("closed", "prolong"): "open",
    ("closed", "reveal"): "closed",
    ("closed", "next"): "open",
    ("closed", "finish"): "finished",
}


@pytest.mark.parametrize(("state", "name"), list(product(rules.STATES, rules.STEPS)))
def test_every_step(state: str, name: str) -> None:
    if (state, name) in STEPS:
        assert rules.step(state, name) == STEPS[state, name]
    else:
        with pytest.raises(Conflict):
            rules.step(state, name)


def test_charts() -> None:
    chart = rules.chart([(1, 0, 2), (2, 2, 1), (1, 2, 1)], 3)
    assert chart == {"1": (2, 0, 1), "2": (0, 0, 1)}
    assert rules.answered(chart) == 4


ITEMS = (
    QuizItem(text="Thời hạn?", options=("3 ngày", "5 ngày", "7 ngày"), correct=1, seconds=30),
    QuizItem(text="Nơi nộp?", options=("Xã", "Tỉnh"), correct=0, seconds=20),
)


def quiz(play: Play) -> int:
    return play.does(play.mai, CreateActivity(title="Kiểm tra nhanh", items=ITEMS))["activity"]


def launched(play: Play) -> tuple[int, int]:
    """A run and its first item."""
    run = play.does(play.mai, LaunchActivity(activity=quiz(play)))["run"]
    return run, shown(play, run)["item"]


def shown(play: Play, run: int) -> dict:
    return play.sees(play.mai)["runs"][str(run)]


def test_an_open_item_shows_no_key_but_to_those_who_may_know(play: Play) -> None:
    run, item = launched(play)
    assert play.told() == ["activity.item_opened", "activity.key_known"]
    knowing = {name for name, actor in play.watched.items() if play.sees(actor)["keys"]}
    assert knowing == {"hoa", "mai", "minh"}
    assert shown(play, run)["correct"] is None and shown(play, run)["chart"] is None
    assert shown(play, run)["deadline_at"] == "2023-06-03T05:00:30Z"


def test_one_answer_a_person_that_may_change_until_it_closes(play: Play) -> None:
    run, item = launched(play)
    for option in (0, 1):
        assert play.does(play.an, Answer(run=run, item=item, option=option)) == {"option": option}
        assert [n for n, a in play.watched.items() if play.hears(a)] == ["an"]
    play.does(play.binh, Answer(run=run, item=item, option=2))
    play.does(play.chau, Answer(run=run, item=item, option=1))
    assert play.session.query(Response).count() == 3
    play.does(play.mai, CloseItem(run=run))
    assert shown(play, run)["chart"] == {str(play.hue): [0, 1, 1], str(play.dong_ha): [0, 1, 0]}
    assert shown(play, run)["answered"] == 3
    with pytest.raises(Conflict):
        play.does(play.an, Answer(run=run, item=item, option=0))


def test_the_servers_clock_closes_an_item(play: Play) -> None:
    run, item = launched(play)
    play.later(30)
    play.does(play.an, Answer(run=run, item=item, option=0))
    play.later(0.001)
    with pytest.raises(Conflict) as late:
        play.does(play.an, Answer(run=run, item=item, option=1))
    assert late.value.message == rules.TOO_LATE
    assert shown(play, run)["state"] == "open"
    play.ticks(ExpireItems())
    assert play.told() == ["activity.item_closed"]
    assert shown(play, run)["state"] == "closed"
    play.ticks(ExpireItems())
    assert play.told() == []


def test_counts_of_answers_are_told_when_they_change(play: Play) -> None:
    run, item = launched(play)
    play.ticks(ExpireItems())
    assert play.told() == []
    play.does(play.an, Answer(run=run, item=item, option=0))
    play.does(play.binh, Answer(run=run, item=item, option=0))
    play.ticks(ExpireItems())
    assert play.told() == ["activity.counted"] and shown(play, run)["answered"] == 2
    phone = play.sees(play.an)["runs"][str(run)]
    assert "an" not in {n for n, a in play.watched.items() if play.hears(a)}, "it wakes no phone"
    assert phone["answered"] == 0
    play.does(play.an, Answer(run=run, item=item, option=1))
    play.ticks(ExpireItems())
    assert play.told() == []


def test_an_open_item_gets_more_time(play: Play) -> None:
    run, item = launched(play)
    play.does(play.an, Answer(run=run, item=item, option=0))
    play.ticks(ExpireItems())
    play.does(play.mai, ProlongItem(run=run, seconds=60))
    assert play.told() == ["activity.item_prolonged", "activity.counted"]
    assert shown(play, run)["deadline_at"] == "2023-06-03T05:01:30Z"
    assert shown(play, run)["answered"] == 1, "the desk goes on counting"
    play.later(90)
    play.does(play.binh, Answer(run=run, item=item, option=1))
    play.later(5)  # over, and not closed yet: the new time begins now
    play.does(play.mai, ProlongItem(run=run, seconds=10))
    play.later(10)
    play.does(play.chau, Answer(run=run, item=item, option=1))
    play.later(1)
    play.ticks(ExpireItems())
    assert shown(play, run)["chart"] == {str(play.hue): [1, 1, 0], str(play.dong_ha): [0, 1, 0]}


def test_an_item_that_an_outage_closed_is_opened_again(play: Play) -> None:
    """Who pressed in time, and was not heard in time, presses again, like everybody else."""
    run, item = launched(play)
    play.does(play.binh, Answer(run=run, item=item, option=2))
    play.later(40)
    play.ticks(ExpireItems())
    with pytest.raises(Conflict):
        play.does(play.an, Answer(run=run, item=item, option=1))
    play.does(play.mai, ProlongItem(run=run))
    assert shown(play, run)["chart"] is None and shown(play, run)["closed_at"] is None
    assert play.sees(play.an)["runs"][str(run)]["answered"] == 0, "as while it was open"
    assert shown(play, run)["deadline_at"] == "2023-06-03T05:01:10Z"
    play.later(30)
    play.does(play.an, Answer(run=run, item=item, option=1))
    play.does(play.mai, CloseItem(run=run))
    assert shown(play, run)["chart"] == {str(play.hue): [0, 1, 1]}
    play.does(play.mai, RevealKey(run=run))
    with pytest.raises(Conflict) as known:
        play.does(play.mai, ProlongItem(run=run))
    assert "Đáp án" in known.value.message


def test_a_run_goes_through_its_items(play: Play) -> None:
    play.moves_to("live")
    run, first = launched(play)
    with pytest.raises(Conflict):
        play.does(play.mai, RevealKey(run=run))
    play.later(10)
    second = play.does(play.mai, NextItem(run=run))["item"]
    assert play.told() == [
        "activity.item_closed",
        "activity.item_opened",
        "activity.key_known",
    ]
    with pytest.raises(Conflict) as late:
        play.does(play.an, Answer(run=run, item=first, option=0))
    assert late.value.message == rules.TOO_LATE
    play.does(play.an, Answer(run=run, item=second, option=0))
    play.does(play.chau, Answer(run=run, item=second, option=1))
    with pytest.raises(Invalid):
        play.does(play.binh, Answer(run=run, item=second, option=2))
    play.later(10)
    play.does(play.mai, CloseItem(run=run))
    play.does(play.mai, RevealKey(run=run))
    assert shown(play, run)["correct"] == 0
    play.does(play.mai, RevealKey(run=run))
    assert play.told() == []
    assert play.does(play.mai, NextItem(run=run)) == {"item": None}
    assert play.sees(play.an)["runs"] == {}
    with pytest.raises(Conflict) as too_late:
        play.does(play.an, Answer(run=run, item=second, option=0))
    assert "không được tính" in too_late.value.message
    for command in (NextItem(run=run), FinishRun(run=run), CloseItem(run=run)):
        with pytest.raises(Conflict):
            play.does(play.mai, command)

    recording = play.session.get_one(Recording, play.conference.recording)
    stretches = [(m.id, m.at_ms, m.end_ms) for m in markers(play.session, recording)]
    assert stretches == [(first, 0, 10_000), (second, 10_000, 20_000)]
    assert [result.totals for result in results(play.session, play.conference_id)] == [
        (0, 0, 0),
        (1, 1),
    ]
    right = {
        each.name: (each.right, each.answered) for each in scores(play.session, play.conference_id)
    }
    assert right == {"Nguyễn Văn An": (1, 1), "Lê Minh Châu": (0, 1)}


def test_one_run_at_a_time_and_a_quiz_may_be_run_again(play: Play) -> None:
    run, item = launched(play)
    activity = shown(play, run)["activity"]
    with pytest.raises(Conflict):
        play.does(play.mai, LaunchActivity(activity=activity))
    play.does(play.an, Answer(run=run, item=item, option=0))
    play.does(play.mai, FinishRun(run=run))
    assert play.told() == ["activity.item_closed", "activity.run_finished"]
    again = play.does(play.mai, LaunchActivity(activity=activity))["run"]
    play.later(1)
    play.does(play.an, Answer(run=again, item=item, option=1))
    assert play.sees(play.an)["responses"][str(item)]["run"] == again
    with pytest.raises(Conflict):
        play.does(play.mai, RemoveActivity(activity=activity))


def test_a_quiz_is_checked_and_may_be_removed_unused(play: Play) -> None:
    wrong = QuizItem(text="?", options=("a", "b"), correct=2)
    with pytest.raises(Invalid) as refused:
        play.does(play.mai, CreateActivity(title="Sai", items=(*ITEMS, wrong)))
    assert refused.value.values == {"number": 3}
    activity = quiz(play)
    assert play.sees(play.minh)["activities"][str(activity)]["items"] == 2
    assert play.sees(play.lan)["activities"] == {}
    play.does(play.mai, RemoveActivity(activity=activity))
    with pytest.raises(NotFound):
        play.does(play.mai, LaunchActivity(activity=activity))


def test_the_end_of_the_conference_ends_the_run(play: Play) -> None:
    play.moves_to("live")
    run, item = launched(play)
    play.moves_to("ended")
    assert play.told()[-2:] == ["activity.item_closed", "activity.run_finished"]
    with pytest.raises(Conflict):
        play.does(play.an, Answer(run=run, item=item, option=0))


def test_who_may_not(play: Play) -> None:
    run, item = launched(play)
    for actor in (play.o_hue, play.display, play.lan, play.mai):
        with pytest.raises(Forbidden):
            play.does(actor, Answer(run=run, item=item, option=0))
    for actor in (play.an, play.o_hue, play.lan, play.minh):
        with pytest.raises(Forbidden):
            play.does(actor, CloseItem(run=run))
        with pytest.raises(Forbidden):
            play.does(actor, ProlongItem(run=run))
