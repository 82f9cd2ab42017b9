"""One transaction of the inbox: keys, permission, action, effects on other rooms, journal.

Knows every room's table of actions; knows nothing of queues, threads or sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, ClassVar

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db import bulk, journal, receipts
from server.db.base import nfc
from server.db.journal import Emit, Published
from server.db.lists import among
from server.db.outcome import ActionFn, Hot, HotFn, Outcome, TargetFn
from server.db.receipts import Kept
from server.effects import ACTIONS, EFFECTS, RIGHTS
from server.errors import (
    N_,
    Conflict,
    DomainError,
    Forbidden,
    SlowDown,
    Unauthenticated,
    Unavailable,
)
from server.people.models import Seat
from server.permissions import Actor, Role, Target, may_oneself, require
from server.protocol import Command, CreateConference, CreateLink

Shown = MutableMapping[int, dict[str, Any]]
"""Results that hold a secret (a link's token), by the digest of their receipts: kept for a retry in
memory alone, never stored."""

_NO_SEAT = select(Seat.id).where(
    among(Seat.id, "holders", str),
    Seat.revoked_at.is_not(None) | Seat.admitted_at.is_(None),
)
_SHOWN_ONCE = N_("Đường dẫn này chỉ hiện một lần. Hãy thu hồi nó và tạo đường dẫn mới.")


Told = Callable[[Sequence["Answer"]], None]
"""Called with the answers to jobs that follow one another and have it in common. It must not raise."""


class CommandJob(msgspec.Struct):
    """A command of ``actor``, to be answered once a ``key``."""

    writes: ClassVar[bool] = True
    told: Told
    actor: Actor
    command: Command
    key: str | None
    asker: Any = None
    """for ``told``"""
    digest: int | None = None
    """of whom and key; None where there is no key. The batch finds it out."""

    @property
    def name(self) -> str:
        """For the log."""
        return self.command.type


class WorkJob(msgspec.Struct, frozen=True):
    """Anything else that writes: seats, links, sign-ins."""

    told: Told
    work: Callable[[Session], Any]
    writes: bool = True
    """False: it only asks whether one could"""
    asker: ClassVar[Any] = None

    @property
    def name(self) -> str:
        """For the log."""
        return getattr(self.work, "__qualname__", "work")


Job = CommandJob | WorkJob


class Answer(msgspec.Struct, frozen=True):
    """What a job's caller is told once its transaction is committed."""

    job: Job
    result: Any = None
    """None where it is refused"""
    error: DomainError | None = None


class Batch:
    """The state of one transaction. The caller commits after ``write``."""

    def __init__(self, session: Session, now: datetime, jobs: Sequence[Job], shown: Shown) -> None:
        self._session = session
        self._shown = shown
        self._now = now
        commands = [job for job in jobs if isinstance(job, CommandJob)]
        for job in commands:
            if job.key is not None:
                job.digest = receipts.digest(job.actor.holder, job.key)
        digests = {job.digest for job in commands if job.digest is not None}
        self._receipts = receipts.find(session, digests)
        self._new_receipts: dict[int, Kept] = {}
        self._holders = {job.actor.holder for job in commands}
        self._revoked = _revoked(session, self._holders)
        self._stored: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._marks: dict[int, str] = {}
        """by the command's identity: ``jobs`` keep them"""
        self._marks_by_value: dict[Command, str] = {}
        self._entries: dict[int, list[tuple[Emit, str | None]]] = {}
        self.rights: set[int] = set()
        """conferences whose seats are to be looked at again"""

    def answers(self, jobs: Sequence[Job]) -> list[Answer]:
        """Do ``jobs`` in order, hot commands that follow one another together.

        Raises: whatever is not a DomainError.
        """
        answers: list[Answer] = []
        for kind, together in groupby(jobs, _kind):
            if kind is None:
                answers += map(self._done_alone, together)
            else:
                answers += self._commands([job for job in together if isinstance(job, CommandJob)])
        for answer in answers:
            if answer.error is not None:  # its frames hold all these answers, and are held by it
                answer.error.__traceback__ = None
        return answers

    def _done_alone(self, job: Job) -> Answer:
        if isinstance(job, CommandJob):
            return self._commands([job])[0]
        try:
            result = job.work(self._session)
        except DomainError as error:
            return Answer(job, error=error)
        if isinstance(result, Outcome):
            self._keep(result, result.conference_id, None)
        return Answer(job, result)

    def write(self) -> list[Published]:
        """Store events and receipts; the events in the order of their conferences' ``seq``."""
        receipts.store(self._session, self._new_receipts, self._now)
        events: list[Published] = []
        for conference_id, entries in self._entries.items():
            events += journal.append(self._session, conference_id, entries, self._now)
        return events

    def _commands(self, jobs: Sequence[CommandJob]) -> list[Answer]:
        """Answer those whose key is known by the receipt; decide the others and keep receipts.

        ``jobs`` are one cold command, or hot ones of one kind.
        """
        if self._are_new(jobs):
            return self._decided(jobs)
        answers: list[Answer] = []
        new: dict[int | tuple[int], CommandJob] = {}
        again: list[CommandJob] = []
        for number, job in enumerate(jobs):
            keyed = (number,) if job.digest is None else job.digest
            if keyed in new:
                again.append(job)
            elif (answer := self._known(job)) is not None:
                answers.append(answer)
            else:
                new[keyed] = job
        if new:
            answers += self._decided(list(new.values()))
        return answers + self._commands(again) if again else answers

    def _are_new(self, jobs: Sequence[CommandJob]) -> bool:
        """True where it is plain that nobody is revoked, and no key was or is there twice."""
        digests = {job.digest for job in jobs}
        return (
            not self._revoked
            and len(digests) == len(jobs)
            and None not in digests
            and digests.isdisjoint(self._receipts)
            and digests.isdisjoint(self._new_receipts)
        )

    def _known(self, job: CommandJob) -> Answer | None:
        """The answer to who may do nothing, or did this before."""
        if job.actor.holder in self._revoked:
            return Answer(job, error=Unauthenticated())
        if job.key is None or job.digest is None:
            return None
        known = self._receipts.get(job.digest) or self._new_receipts.get(job.digest)
        if known is None:
            return None
        who = (job.actor.holder, nfc(job.key))
        if who != known[:2] or known.fingerprint != receipts.fingerprint(job.command):
            error = Conflict(N_("Khoá của lệnh này đã dùng cho một lệnh khác."))
            return Answer(job, error=error)
        try:
            shown = self._shown.get(job.digest)
            return Answer(job, shown or receipts.open_answer(known.answer))
        except DomainError as refusal:
            return Answer(job, error=refusal)

    def _decided(self, jobs: Sequence[CommandJob]) -> list[Answer]:
        """Do what nobody did before; a conference's hot commands are decided at once."""
        entry = ACTIONS[type(jobs[0].command)]
        if isinstance(entry, Hot):
            return self._together(entry.decide, jobs)
        answers = []
        for job in jobs:
            try:
                outcome = self._act(job.actor, job.command, *entry)
            except DomainError as error:
                answers.append(self._refuse(job, error))
            else:
                answers.append(self._settle(job, outcome))
        return answers

    def _together(self, decide: HotFn, jobs: Sequence[CommandJob]) -> list[Answer]:
        permission = jobs[0].command.permission
        answers: list[Answer] = []
        permitted: dict[int | None, list[CommandJob]] = {}
        for job in jobs:
            actor = job.actor
            if may_oneself(actor, permission):
                permitted.setdefault(actor.conference_id, []).append(job)
            else:
                answers.append(self._refuse(job, Forbidden()))
        for members in permitted.values():
            commands = [(job.actor, job.command) for job in members]
            try:
                outcomes = decide(self._session, commands, self._now)
            except DomainError as error:
                outcomes = [error] * len(members)
            each = zip(members, outcomes, strict=True)
            answers += [self._settle(job, outcome) for job, outcome in each]
        return answers

    def _act(
        self, actor: Actor, command: Command, target_of: TargetFn | None, action: ActionFn
    ) -> Outcome:
        target = _self(actor) if target_of is None else target_of(self._session, actor, command)
        if not isinstance(command, CreateConference):  # its action asks the account instead
            require(actor, command.permission, target)
        return action(self._session, actor, command, self._now)

    def _refuse(self, job: CommandJob, error: DomainError) -> Answer:
        """Keep the receipt of a refusal, where it is no "later"."""
        if job.digest is not None and not isinstance(error, SlowDown | Unavailable):
            self._receive(job, job.digest, receipts.refused(error))
        return Answer(job, error=error)

    def _settle(self, job: CommandJob, outcome: Outcome | DomainError) -> Answer:
        """Queue the events, keep the receipt."""
        if isinstance(outcome, DomainError):
            return self._refuse(job, outcome)
        actor, kind = job.actor, type(job.command)
        if outcome.rights_changed or outcome.emits:
            self._keep(outcome, outcome.conference_id or actor.conference_id, actor)
        if kind in RIGHTS:
            self._rights_changed(actor.conference_id)
        if job.digest is not None:
            stored = self._stored_as(outcome.result)
            if kind is CreateLink:
                self._shown[job.digest] = outcome.result
                stored = receipts.refused(Conflict(_SHOWN_ONCE))
            self._receive(job, job.digest, stored)
        return Answer(job, outcome.result)

    def _receive(self, job: CommandJob, digest: int, stored: dict[str, Any]) -> None:
        key = nfc(job.key) or ""
        mark = self._marks.get(id(job.command)) or self._mark(job.command)
        self._new_receipts[digest] = Kept(job.actor.holder, key, mark, stored)

    def _mark(self, command: Command) -> str:
        """The fingerprint, made once of what hundreds send."""
        mark = self._marks_by_value.get(command)
        if mark is None:
            mark = self._marks_by_value[command] = receipts.fingerprint(command)
        self._marks[id(command)] = mark
        return mark

    def _stored_as(self, result: dict[str, Any]) -> dict[str, Any]:
        """A result as its receipt has it: hot commands share theirs."""
        known = self._stored.get(id(result))
        if known is None:
            known = self._stored[id(result)] = result, receipts.accepted(result)
        return known[1]

    def _keep(self, outcome: Outcome, conference_id: int | None, actor: Actor | None) -> None:
        """Queue an outcome's events for the journal, and those that other rooms add to them."""
        if outcome.rights_changed:
            self._rights_changed(conference_id)
        if not outcome.emits:
            return
        if conference_id is None:
            raise ValueError("events without a conference")
        entries = self._entries.setdefault(conference_id, [])
        holder = actor.holder if actor is not None else None
        for emit in outcome.emits:
            entries.append((emit, holder))
            if type(emit.event) in EFFECTS:
                server = server_actor(conference_id)
                entries += [(further, holder) for further in self._effects(server, emit)]

    def _effects(self, server: Actor, emit: Emit) -> Iterator[Emit]:
        """What an event brings about, each followed by what that brings about."""
        for effect in EFFECTS.get(type(emit.event), ()):
            for further in effect(self._session, server, emit.event, self._now):
                yield further
                yield from self._effects(server, further)

    def _rights_changed(self, conference_id: int | None) -> None:
        if conference_id is not None:
            self.rights.add(conference_id)
            # Who was revoked a moment ago may have more in this very batch.
            self._revoked = _revoked(self._session, self._holders)


def _kind(job: Job) -> type[Command] | None:
    """What a hot command is done together with; None for all else."""
    if isinstance(job, CommandJob) and isinstance(ACTIONS[type(job.command)], Hot):
        return type(job.command)
    return None


def _self(actor: Actor) -> Target:
    return Target(actor.conference_id, actor.site_id, actor.person_id)


def server_actor(conference_id: int) -> Actor:
    """The server itself, as it acts in a conference: clock and effects."""
    return Actor(holder="server", role=Role.ORGANISER, conference_id=conference_id)


def _revoked(session: Session, holders: set[str]) -> set[str]:
    """Those ``holders`` that are seats no more, or not yet; of who is neither it is kept for a while."""
    standing = bulk.facts(session, Seat)
    unknown = [holder for holder in holders if holder not in standing]
    if not unknown:
        return set()
    revoked = {seat for seat, in bulk.read(session, _NO_SEAT, holders=unknown)}
    standing.update((holder, True) for holder in unknown if holder not in revoked)
    return revoked
