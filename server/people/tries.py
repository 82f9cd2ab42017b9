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

_SECONDS = N_("Đã nhập sai nhiều lần. Hãy thử lại sau %(seconds)d giây.")
_MINUTES = N_("Đã nhập sai nhiều lần. Hãy thử lại sau %(minutes)d phút.")


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
        message = _MINUTES if pause > 120 else _SECONDS
        seconds, minutes = int(pause) + 1, math.ceil(pause / 60)
        raise SlowDown(message, retry_after_s=pause, seconds=seconds, minutes=minutes)


def refuse(
    session: Session,
    subject: str,
    limit: Limit,
    now: datetime,
    error: DomainError,
    last: str | None = None,
) -> DomainError:
    """Count a wrong try of ``subject``; gives back ``error`` for the caller to raise.

    Its sentence may say ``%(left)d``, the tries that are left before one must wait. After the last
    of them ``last`` takes its place, which may say ``%(seconds)d``, how long to wait.
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
    if pause > 0 and last is not None:
        error.message, error.retry_after_s = last, pause
    error.values |= {"left": max(0, limit.free - tried.count), "seconds": round(pause)}
    return error


def forget(session: Session, subject: str) -> None:
    """A right try clears the count."""
    tried = session.get(WrongTry, subject)
    if tried is not None:
        session.delete(tried)


def forget_old(session: Session, now: datetime) -> None:
    """Delete what no limit remembers: strangers with ever new devices must not fill the table."""
    session.execute(delete(WrongTry).where(WrongTry.last_at < now - LONGEST_MEMORY))
