"""Reads that are made once, however many ask for the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.orm import Session

T = TypeVar("T")
P = ParamSpec("P")


class Once:
    """What has been read by ``session``, which must see one moment. No value of it may be changed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._read: dict[Hashable, Any] = {}

    def __call__(
        self,
        read: Callable[Concatenate[Session, P], T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """``read(session, …)``, or what it gave the first time; its arguments must be hashable."""
        key = (read, arguments, tuple(named.items()))
        if key not in self._read:
            self._read[key] = read(self._session, *arguments, **named)
        known: T = self._read[key]
        return known
