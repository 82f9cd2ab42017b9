"""A question's life: asked, approved or set aside, on stage, answered."""

from __future__ import annotations

from itertools import product

import pytest

from server.errors import Conflict, Forbidden, NotFound
from server.protocol import (
    AnswerQuestion,
    Appoint,
    ApproveQuestion,
    AskQuestion,
    FinishQuestion,
    PutQuestionOnStage,
    SetQuestionAside,
    TakeQuestionDown,
)
from server.questions import rules
from server.questions.views import listed
from server.recordings.markers import markers
from server.recordings.models import Recording
from tests.play import Play

STEPS = {
    "asked": {"approve": "approved", "put_aside": "set_aside"},
    "approved": {
        "approve": "approved",
        "put_aside": "set_aside",
        "put_on_stage": "on_stage",
        "answer": "answered",
    },
    "set_aside": {"approve": "approved"},
    "on_stage": {"finish": "answered", "take_down": "approved"},
    "answered": {},
}


@pytest.mark.parametrize(("state", "name"), list(product(rules.STATES, rules.STEPS)))
def test_every_step(state: str, name: str) -> None:
    if name in STEPS[state]:
        assert rules.step(state, name) == STEPS[state][name]
    else:
        with pytest.raises(Conflict):
            rules.step(state, name)


def asks(play: Play, actor, text: str = "Mẫu 02 nộp ở đâu?") -> int:
    return play.does(actor, AskQuestion(text=text))["question"]


def approved(play: Play, actor) -> int:
    question = asks(play, actor)
    play.does(play.mai, ApproveQuestion(question=question))
    return question


def seen(play: Play, actor, question: int) -> dict | None:
    return play.sees(actor)["questions"].get(str(question))


def test_before_it_is_public_only_the_asker_the_room_and_the_desk_see_it(play: Play) -> None:
    question = asks(play, play.an)
    know = {name for name, actor in play.watched.items() if seen(play, actor, question)}
    assert know == {"an", "o_hue", "hoa", "mai", "lan", "minh"}
    assert seen(play, play.mai, question)["asker"] == "Nguyễn Văn An"
    assert seen(play, play.mai, question)["unit"] == "Phường Thuận Hòa"
    assert "asker" not in seen(play, play.lan, question)
    assert play.sees(play.an)["sent"] == {str(question): {"id": question}}


def test_on_stage_everyone_sees_it_and_nobody_more_learns_who_asked(play: Play) -> None:
    question = approved(play, play.an)
    play.does(play.mai, PutQuestionOnStage(question=question))
    for actor in play.watched.values():
        assert seen(play, actor, question)["state"] == "on_stage"
    assert "asker" not in seen(play, play.chau, question)
    assert play.sees(play.binh)["sent"] == {}


def test_a_rooms_question_names_nobody(play: Play) -> None:
    question = asks(play, play.o_hue)
    assert play.told() == ["question.asked"]
    assert "asker" not in seen(play, play.mai, question)
    assert seen(play, play.an, question) is None


def test_a_question_put_on_stage_by_mistake_is_as_it_was(play: Play) -> None:
    play.moves_to("live")
    question = approved(play, play.an)
    before = {name: seen(play, actor, question) for name, actor in play.watched.items()}
    play.does(play.mai, PutQuestionOnStage(question=question))
    assert seen(play, play.chau, question) is not None
    with pytest.raises(Forbidden):
        play.does(play.lan, TakeQuestionDown(question=question))
    play.later(5)
    play.does(play.mai, TakeQuestionDown(question=question))
    assert before == {name: seen(play, a, question) for name, a in play.watched.items()}
    assert "question.taken_down" in play.hears(play.chau)
    with pytest.raises(Conflict):
        play.does(play.mai, TakeQuestionDown(question=question))
    play.later(5)
    play.does(play.mai, PutQuestionOnStage(question=question))
    play.later(5)
    play.does(play.mai, FinishQuestion(question=question))
    recording = play.session.get_one(Recording, play.conference.recording)
    made = markers(play.session, recording)
    assert [(m.at_ms, m.end_ms) for m in made] == [(10_000, 15_000)], "only what was meant"


def test_one_question_at_most_is_on_stage(play: Play) -> None:
    play.moves_to("live")
    first, second = approved(play, play.an), approved(play, play.chau)
    play.later(10)
    play.does(play.mai, PutQuestionOnStage(question=first))
    play.later(20)
    play.does(play.mai, PutQuestionOnStage(question=second))
    assert play.told() == ["question.finished", "question.put_on_stage"]
    play.later(5)
    play.does(play.lan, FinishQuestion(question=second))
    with pytest.raises(Conflict):
        play.does(play.lan, FinishQuestion(question=second))
    third = approved(play, play.an)
    play.later(7)
    play.does(play.lan, AnswerQuestion(question=third, text="Theo Nghị định"))
    recording = play.session.get_one(Recording, play.conference.recording)
    made = markers(play.session, recording)
    assert [(m.kind, m.id, m.at_ms, m.end_ms, m.written) for m in made] == [
        ("question", first, 10_000, 30_000, False),
        ("question", second, 30_000, 35_000, False),
        ("question", third, 42_000, 42_000, True),
    ]


def test_the_end_of_the_conference_ends_the_live_answer(play: Play) -> None:
    play.moves_to("live")
    question = approved(play, play.an)
    play.does(play.mai, PutQuestionOnStage(question=question))
    play.moves_to("ended")
    assert seen(play, play.chau, question)["state"] == "answered"
    with pytest.raises(Conflict):
        asks(play, play.an)


def test_set_aside_with_a_reason_and_taken_up_again(play: Play) -> None:
    question = asks(play, play.an)
    play.does(play.mai, SetQuestionAside(question=question, reason="Đã trả lời ở câu trước"))
    assert seen(play, play.an, question)["reason"] == "Đã trả lời ở câu trước"
    assert seen(play, play.chau, question) is None
    with pytest.raises(Conflict):
        play.does(play.mai, PutQuestionOnStage(question=question))
    play.does(play.mai, ApproveQuestion(question=question))
    play.does(play.mai, PutQuestionOnStage(question=question))
    assert "reason" not in seen(play, play.chau, question)


def test_a_written_answer_is_public_and_signed(play: Play) -> None:
    question = asks(play, play.an)
    with pytest.raises(Conflict):
        play.does(play.lan, AnswerQuestion(question=question, text="Chưa duyệt"))
    play.does(play.mai, ApproveQuestion(question=question))
    play.does(play.lan, AnswerQuestion(question=question, text="Nộp tại bộ phận một cửa."))
    answer = seen(play, play.chau, question)
    assert (answer["answer"], answer["answered_by"]) == ("Nộp tại bộ phận một cửa.", "Lan")
    (row,) = listed(play.session, play.conference_id)
    assert (row.asker, row.site_name) == ("Nguyễn Văn An", "Huế")


def test_a_question_is_given_to_a_speaker_or_advisor_of_this_conference(play: Play) -> None:
    question = asks(play, play.an)
    lans = play.sees(play.lan)["me"]["appointment"]
    mais = play.sees(play.mai)["me"]["appointment"]
    play.does(play.mai, ApproveQuestion(question=question, appointment=lans))
    assert seen(play, play.lan, question)["appointment"] == lans
    advising = play.does(play.hoa, Appoint(username="minh", role="advisor"))["appointment"]
    play.does(play.mai, ApproveQuestion(question=question, appointment=advising))
    for wrong in (mais, 999):
        with pytest.raises(NotFound):
            play.does(play.mai, ApproveQuestion(question=question, appointment=wrong))


def test_who_may_not(play: Play) -> None:
    question = approved(play, play.an)
    for actor in (play.an, play.o_hue, play.lan, play.minh, play.display):
        with pytest.raises(Forbidden):
            play.does(actor, PutQuestionOnStage(question=question))
    for actor in (play.mai, play.display, play.minh):
        with pytest.raises(Forbidden):
            asks(play, actor)


def test_nobody_floods_the_desk(play: Play) -> None:
    for _ in range(rules.MAX_WAITING):
        last = asks(play, play.an)
    with pytest.raises(Conflict):
        asks(play, play.an)
    play.does(play.mai, ApproveQuestion(question=last))
    asks(play, play.an)
