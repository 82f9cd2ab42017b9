"""Reads that are made together: one for all who wait, and nobody spoils it for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.orm import Session

from server.db.engine import Database
from server.errors import DomainError, NotFound, Unavailable
from server.live.gathering import Gathered

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


class Reads:
    """Doubles numbers; refuses 0, breaks on 13, and finds the database away on 99."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, _session: Session, asked: Sequence[int]) -> list[int | DomainError]:
        self.asked.append(list(asked))
        if 99 in asked:
            raise Unavailable()
        if 13 in asked:
            raise RuntimeError("unlucky")
        return [2 * number or NotFound() for number in asked]


async def found(database: Database, *asked: int) -> tuple[list[object], list[list[int]]]:
    reads = Reads()
    gathered = Gathered[int, int](database, reads)
    answers = asyncio.gather(*map(gathered, asked), return_exceptions=True)
    return list(await answers), reads.asked


async def test_who_comes_at_once_is_read_together_and_each_has_its_own(database: Database) -> None:
    answers, asked = await found(database, 1, 0, 3)
    assert asked == [[1, 0, 3]]
    assert answers[::2] == [2, 6] and isinstance(answers[1], NotFound)


async def test_one_who_cannot_be_read_spoils_it_for_nobody(database: Database) -> None:
    answers, asked = await found(database, 1, 2, 13, 4)
    assert (answers[0], answers[1], answers[3]) == (2, 4, 8)
    assert isinstance(answers[2], RuntimeError)
    assert asked == [[1, 2, 13, 4], [1, 2], [13, 4], [13], [4]]


async def test_a_database_that_is_away_is_asked_once(database: Database) -> None:
    answers, asked = await found(database, 1, 99, 3)
    assert {type(each) for each in answers} == {Unavailable} and len(asked) == 1
