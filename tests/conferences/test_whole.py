"""One whole conference through every room, from the lobby to the reports."""

from __future__ import annotations

from server.activities.reports import results, scores
from server.attendance.reports import rows
from server.protocol import (
    Answer,
    ApproveQuestion,
    AskQuestion,
    CheckIn,
    CountAttendance,
    CreateActivity,
    ExpireItems,
    GiveFloor,
    ImportRoster,
    LaunchActivity,
    PutQuestionOnStage,
    QuizItem,
    RequestFloor,
    RevealKey,
    RosterRow,
)
from server.recordings.markers import markers
from server.recordings.models import Recording
from tests.play import Play


def test_a_whole_conference(play: Play) -> None:
    moved = RosterRow(name="Lê Minh Châu", site="hue", code="0003")
    play.watched.pop("chau")
    play.does(play.hoa, ImportRoster(rows=(moved, RosterRow(name="Đỗ Ân", site="hue"))))
    play.moves_to("live")
    for phone in (play.an, play.binh):
        play.does(phone, CheckIn())
    play.ticks(CountAttendance())
    play.does(play.o_hue, RequestFloor())
    play.does(play.mai, GiveFloor(site=play.hue))
    question = play.does(play.an, AskQuestion(text="Nộp ở đâu?"))["question"]
    play.does(play.mai, ApproveQuestion(question=question))
    play.does(play.mai, PutQuestionOnStage(question=question))
    item = QuizItem(text="Thời hạn?", options=("3 ngày", "5 ngày"), correct=1)
    activity = play.does(play.mai, CreateActivity(title="Nhanh", items=(item,)))["activity"]
    run = play.does(play.mai, LaunchActivity(activity=activity))["run"]
    shown = play.sees(play.an)["runs"][str(run)]["item"]
    for option in (0, 1):
        play.does(play.an, Answer(run=run, item=shown, option=option))
    play.later(31)
    play.ticks(ExpireItems())
    play.does(play.mai, RevealKey(run=run))
    play.moves_to("ended")

    listed = rows(play.session, play.conference)
    names = [(row.name, row.evidence) for row in listed]
    assert names == [
        ("Nguyễn Văn An", "code"),
        ("Đỗ Ân", None),
        ("Trần Thị Bình", "code"),
        ("Lê Minh Châu", None),
    ]
    assert results(play.session, play.conference_id)[0].totals == (0, 1)
    assert [(score.name, score.right) for score in scores(play.session, play.conference_id)] == [
        ("Nguyễn Văn An", 1)
    ]
    recording = play.session.get_one(Recording, play.conference.recording)
    assert {(mark.kind, mark.end_ms) for mark in markers(play.session, recording)} == {
        ("question", 31_000),
        ("quiz", 31_000),
    }
