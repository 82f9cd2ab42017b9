"""Wrong codes, PINs and passwords: counted where they are tried, answered by waiting.

The wrong try is written before the refusal is raised, so the transaction of a refused request
must be committed like any other (actions never leave half of a change behind).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from server.errors import N_, DomainError, SlowDown
from server.people.models import WrongTry


@dataclass(frozen=True, slots=True)
class Limit:
    """``free`` wrong tries, then a wait that doubles with each further one up to a bound; all is
    forgotten after ``memory_s`` without one."""

    free: int
    wait_s: float
    longest_wait_s: float
    memory_s: float


CODE = Limit(free=5, wait_s=30, longest_wait_s=900, memory_s=3600)
PIN = Limit(free=10, wait_s=60, longest_wait_s=600, memory_s=3600)
PASSWORD = Limit(free=5, wait_s=30, longest_wait_s=900, memory_s=3600)
LONGEST_MEMORY = timedelta(seconds=max(limit.memory_s for limit in (CODE, PIN, PASSWORD)))


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait, said in ``%(seconds)d`` or, where that is long, in ``%(minutes)d``."""

    seconds: str
    minutes: str

    def of(self, pause_s: float) -> str:
        """The sentence for a pause."""
        return self.minutes if pause_s > 120 else self.seconds


_WAIT = Wait(
    N_("Đã nhập sai nhiều lần. Hãy thử lại sau %(seconds)d giây."),
    N_("Đã nhập sai nhiều lần. Hãy thử lại sau %(minutes)d phút."),
)


def wait_s(limit: Limit, count: int, since_last_s: float) -> float:
    """How long to wait before the next try, after ``count`` wrong ones."""
    if count < limit.free or since_last_s >= limit.memory_s:
        return 0.0
    doublings = min(count - limit.free, 16)
    pause = min(limit.wait_s * (1 << doublings), limit.longest_wait_s)
    return max(0.0, pause - since_last_s)


def check(session: Session, subject: str, limit: Limit, now: datetime) -> None:
    """Raises: SlowDown where ``subject`` must wait."""
    tried = session.get(WrongTry, subject)
    if tried is None:
        return
    pause = wait_s(limit, tried.count, (now - tried.last_at).total_seconds())
    if pause > 0:
        raise SlowDown(_WAIT.of(pause), retry_after_s=pause, minutes=math.ceil(pause / 60))


def refuse(
    session: Session,
    subject: str,
    limit: Limit,
    now: datetime,
    error: DomainError,
    last: Wait | None = None,
) -> DomainError:
    """Count a wrong try of ``subject``; gives back ``error`` for the caller to raise.

    Its sentence may say ``%(left)d``, the tries that are left before one must wait. After the last
    of them ``last`` takes its place, which says how long to wait.
    """
    tried = session.get(WrongTry, subject)
    if tried is None:
        tried = WrongTry(subject=subject, count=1, last_at=now)
        session.add(tried)
    else:
        forgotten = now - tried.last_at >= timedelta(seconds=limit.memory_s)
        tried.count = 1 if forgotten else tried.count + 1
        tried.last_at = now
    session.flush()
    pause = wait_s(limit, tried.count, 0)
    error.values |= {"left": max(0, limit.free - tried.count)}
    if pause == 0 or last is None:
        return error
    error.message, error.retry_after_s = last.of(pause), pause
    error.values |= {"seconds": math.ceil(pause), "minutes": math.ceil(pause / 60)}
    return error


def forget(session: Session, subject: str) -> None:
    """A right try clears the count."""
    tried = session.get(WrongTry, subject)
    if tried is not None:
        session.delete(tried)


def forget_old(session: Session, now: datetime) -> None:
    """Delete what no limit remembers: strangers with ever new devices must not fill the table."""
    session.execute(delete(WrongTry).where(WrongTry.last_at < now - LONGEST_MEMORY))
