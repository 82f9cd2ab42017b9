"""Many rows by one statement: what is written is read again, whatever its texts hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.models import Site
from server.db import bulk
from server.db.journal import JournalEntry
from server.db.receipts import TOGETHER, Kept, Receipts, digest, find, forget, opened, store
from tests.cast import START, bring_in

TEXTS = (
    "",
    "NULL",
    "null",
    " a b ",
    "a,b",
    "{a}",
    "{}",
    '"',
    '""',
    '","',
    "\\",
    '\\"',
    "\\\\",
    "\\N",
    "a\nb\tc\r",
    "\u0001\u007f",
    "%s %(a)s %%",
    "$1 :a ?",
    "'; DROP TABLE journal; --",
    "Nguyễn Thị Ánh",
    "\U0001f600",
)
COUNT = 3 * bulk.TOGETHER + len(TEXTS)
"""whole statements of SQLite's, and some left over"""


def _entry(seq: int) -> dict[str, Any]:
    text = TEXTS[seq % len(TEXTS)]
    return {
        "conference_id": 7,
        "seq": seq,
        "at": START + timedelta(microseconds=seq),
        "type": text,
        "data": {"said": text, text: [text, None, seq]},
        "site_id": None if seq % 3 else seq,
        "person_id": -seq,
        "actor": None if seq % 2 else text,
    }


@pytest.mark.parametrize("count", [1, len(TEXTS), COUNT])
def test_rows_are_read_as_they_were_written(session: Session, count: int) -> None:
    rows = [_entry(seq) for seq in range(1, count + 1)]
    bulk.add(session, JournalEntry, rows)
    table = JournalEntry.__table__
    query = select(table).where(table.c.conference_id == 7).order_by(table.c.seq)
    assert [dict(row) for row in session.execute(query).mappings()] == rows


def test_texts_are_kept_in_normal_form(session: Session) -> None:
    decomposed = "a\u0302\u0301"
    rows = [{**_entry(seq), "actor": decomposed if seq == 2 else "x"} for seq in (1, 2, 3)]
    bulk.add(session, JournalEntry, rows)
    query = select(JournalEntry.actor).where(JournalEntry.conference_id == 7)
    assert set(session.scalars(query)) == {"x", "ấ"}


def test_receipts_are_found_whatever_their_keys_hold(session: Session) -> None:
    made = {
        digest(holder, key): Kept(holder, key, "f", {"of": key})
        for holder in ("seat", 'se"at')
        for key in TEXTS
    }
    store(session, made, START)
    asked = [digest("seat", key) for key in TEXTS] + [digest("nobody", TEXTS[0])]
    assert find(session, asked) == {number: made[number] for number in asked[:-1]}


def test_receipts_share_rows_and_are_found_one_by_one(session: Session) -> None:
    made = {
        number: Kept("seat", str(number), "f", {"of": number}) for number in range(2 * TOGETHER + 1)
    }
    store(session, made, START)
    assert len(session.scalars(select(Receipts.id)).all()) == 3
    for asked in ([TOGETHER], [0, 2 * TOGETHER], range(5 * TOGETHER)):
        assert find(session, asked) == {number: made[number] for number in asked if number in made}


def test_receipts_are_forgotten_by_their_age(session: Session) -> None:
    for hour in range(4):
        made = [(f"seat {number}", f"hour {hour}") for number in range(3)]
        kept = {digest(*each): Kept(*each, "f", {}) for each in made}
        store(session, kept, START + timedelta(hours=hour))

    def left() -> list[str]:
        rows = session.scalars(select(Receipts.kept))
        return sorted({receipt.key for row in rows for receipt in opened(row).values()})

    forget(session, START)
    assert left() == ["hour 0", "hour 1", "hour 2", "hour 3"]
    forget(session, START + timedelta(hours=1.5))
    assert left() == ["hour 2", "hour 3"]
    forget(session, START + timedelta(hours=9))
    assert left() == []


@pytest.mark.parametrize("kind", ["postgresql"])  # SQLite stores it
def test_what_cannot_be_stored_does_not_become_two_texts(session: Session) -> None:
    rows = [{**_entry(seq), "actor": "a\0b" if seq == 2 else "x"} for seq in (1, 2, 3)]
    with pytest.raises(ValueError, match="U\\+0000"):
        bulk.add(session, JournalEntry, rows)


def test_a_row_that_is_changed_is_so_at_once_and_for_good(session: Session) -> None:
    cast = bring_in(session)
    hue, da_nang = (session.get_one(Site, site) for site in (cast.hue, cast.da_nang))
    hue.name = "Huế cũ"  # held back by the session: it is written before
    bulk.change(session, hue, name='Hue\u0302\u0301 "mới"', operator_since=START)
    assert (hue.operator_since, hue in session.dirty) == (START, False)
    session.expire_all()
    assert (hue.name, hue.operator_since) == ('Huế "mới"', START)
    assert (da_nang.name, da_nang.operator_since) == ("Đà Nẵng", None)
    bulk.change(session, hue, operator_since=None)
    session.expire_all()
    assert hue.operator_since is None


def test_a_change_that_is_undone_is_undone(session: Session) -> None:
    hue = session.get_one(Site, bring_in(session).hue)
    session.commit()
    bulk.change(session, hue, name="Khác")
    session.rollback()
    assert hue.name == "Huế"
