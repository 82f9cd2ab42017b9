"""Who is expected where: rosters of tens of thousands, written by bulk statements."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from server.conferences.loading import conference_of
from server.conferences.models import Conference, RosterEntry, Site
from server.conferences.rules import CHANGEABLE
from server.conferences.sites import sites_of
from server.db.base import Base
from server.db.journal import Emit
from server.db.outcome import Actions, Outcome
from server.errors import N_, Invalid, NotFound
from server.people.codes import draw_code, normalise_code
from server.people.models import Person, Seat, Unit
from server.people.names import nfc, search_key, sort_key
from server.people.seats import revoke
from server.permissions import Actor
from server.protocol import (
    ImportRoster,
    RemoveFromRoster,
    RosterEntryRemoved,
    RosterImported,
    RosterRow,
    SiteCounted,
)

_CHUNK = 500
"""ids or codes in one IN list: SQLite takes 32,766 parameters, plans stay small well below"""


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


@dataclass(slots=True)
class _Row:
    """A checked row on its way: names normalised, its place known, its person perhaps."""

    code: str
    name: str
    site_id: int
    unit: str
    post: str
    group: str
    person_id: int | None = field(default=None)


def _check(rows: Sequence[RosterRow], sites: dict[str, int]) -> list[_Row]:
    """Raises: Invalid, naming the first wrong row, counted from 1."""
    checked: list[_Row] = []
    first_at: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        name = nfc(row.name)
        if not name:
            raise Invalid(N_("Dòng %(row)d: thiếu họ và tên."), row=number)
        site_id = sites.get(row.site)
        if site_id is None:
            raise Invalid(
                N_("Dòng %(row)d: không có điểm cầu “%(site)s”."), row=number, site=row.site
            )
        code = normalise_code(row.code)
        if row.code.strip() and not code:
            raise Invalid(
                N_("Dòng %(row)d: mã “%(code)s” không có chữ hay số nào."),
                row=number,
                code=row.code,
            )
        if code:
            before = first_at.setdefault(code, number)
            if before != number:
                raise Invalid(
                    N_("Dòng %(row)d: mã “%(code)s” trùng với dòng %(before)d."),
                    row=number,
                    code=code,
                    before=before,
                )
        checked.append(_Row(code, name, site_id, nfc(row.unit), nfc(row.post), nfc(row.group)))
    return checked


def _units(session: Session, conference: Conference, names: set[str]) -> dict[str, int]:
    """Unit name → id; a new one is made under the root of the tree (made where there is none)."""
    known: dict[str, int] = {}
    for unit_id, name in session.execute(select(Unit.id, Unit.name).order_by(Unit.id.desc())):
        known[name] = unit_id
    missing = sorted(names - known.keys() - {""})
    if missing:
        root = session.scalar(select(Unit.id).where(Unit.parent_id.is_(None)).order_by(Unit.id))
        if root is None:
            top = Unit(parent_id=None, name=conference.organiser or conference.title)
            session.add(top)
            session.flush()
            root = top.id
        session.execute(insert(Unit), [{"parent_id": root, "name": name} for name in missing])
        for part in _chunks(missing):
            made = select(Unit.name, Unit.id).where(Unit.parent_id == root, Unit.name.in_(part))
            known.update((name, unit_id) for name, unit_id in session.execute(made))
    return known


def _by_code(session: Session, codes: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in _chunks(codes):
        query = select(Person.code, Person.id).where(Person.code.in_(part))
        found.update((code, person_id) for code, person_id in session.execute(query))
    return found


def _match_by_name(session: Session, conference: Conference, rows: list[_Row]) -> None:
    """Rows without a code that repeat somebody of this roster are that person: importing the same
    file twice adds nobody. Namesakes of one unit and room are matched one by one."""
    codeless = [row for row in rows if not row.code]
    if not codeless:
        return
    query = (
        select(Person.id, Person.code, Person.name, Unit.name, RosterEntry.site_id)
        .join(RosterEntry, RosterEntry.person_id == Person.id)
        .outerjoin(Unit, Unit.id == Person.unit_id)
        .where(RosterEntry.conference_id == conference.id)
        .order_by(Person.id.desc())
    )
    used = {row.code for row in rows if row.code}
    known: dict[tuple[str, str, int], list[tuple[int, str]]] = defaultdict(list)
    for person_id, code, name, unit, site_id in session.execute(query):
        if code not in used:
            known[(name, unit or "", site_id)].append((person_id, code))
    for row in codeless:
        same = known.get((row.name, row.unit, row.site_id))
        if same:
            row.person_id, row.code = same.pop()


def _draw_missing(session: Session, rows: list[_Row]) -> int:
    """Draw codes for those without; gives how many."""
    codeless = [row for row in rows if not row.code]
    taken = {row.code for row in rows}
    while True:
        waiting = [row for row in codeless if not row.code]
        if not waiting:
            return len(codeless)
        drawn = [draw_code() for _ in waiting]
        known = _by_code(session, drawn)
        for row, code in zip(waiting, drawn, strict=True):
            if code not in known and code not in taken:
                row.code = code
                taken.add(code)


def _values(row: _Row, units: dict[str, int]) -> dict[str, Any]:
    return {
        "code": row.code,
        "name": row.name,
        "sort_name": sort_key(row.name),
        "search_name": search_key(row.name),
        "unit_id": units.get(row.unit),
        "post": row.post,
        "group": row.group,
    }


def _write_persons(session: Session, rows: list[_Row], units: dict[str, int]) -> int:
    """Insert the new and update the known; gives how many were new."""
    known = _by_code(session, [row.code for row in rows])
    for row in rows:
        row.person_id = known.get(row.code)
    old = [{"id": row.person_id, **_values(row, units)} for row in rows if row.person_id]
    new = [_values(row, units) for row in rows if row.person_id is None]
    if old:
        session.execute(update(Person), old)
    if new:
        session.execute(insert(Person), new)
        made = _by_code(session, [values["code"] for values in new])
        for row in rows:
            if row.person_id is None:
                row.person_id = made[row.code]
    return len(new)


def _write_entries(session: Session, conference: Conference, rows: list[_Row]) -> set[int]:
    """Place everyone at their site; gives the sites that gained or lost somebody, or whose people
    may have changed. The seats of those who moved go with them."""
    query = select(RosterEntry.person_id, RosterEntry.site_id).where(
        RosterEntry.conference_id == conference.id
    )
    before: dict[int, int] = {p: s for p, s in session.execute(query)}
    new, moved, touched = [], [], set()
    for row in rows:
        assert row.person_id is not None
        old_site = before.get(row.person_id)
        touched.add(row.site_id)
        if old_site is None:
            new.append(
                {
                    "conference_id": conference.id,
                    "person_id": row.person_id,
                    "site_id": row.site_id,
                }
            )
        elif old_site != row.site_id:
            moved.append({"person": row.person_id, "site": row.site_id})
            touched.add(old_site)
    if new:
        session.execute(insert(RosterEntry), new)
    if moved:
        for name in (RosterEntry.__tablename__, Seat.__tablename__):
            table = Base.metadata.tables[name]
            statement = (
                update(table)
                .where(
                    table.c.conference_id == conference.id,
                    table.c.person_id == bindparam("person"),
                )
                .values(site_id=bindparam("site"))
            )
            session.connection().execute(statement, moved)
    session.flush()
    session.expire_all()  # the statements above passed by the session's own objects
    return touched


def recount(session: Session, conference_id: int) -> dict[int, int]:
    """Site → how many its roster expects; sites that expect nobody are left out."""
    query = (
        select(RosterEntry.site_id, func.count())
        .where(RosterEntry.conference_id == conference_id)
        .group_by(RosterEntry.site_id)
    )
    return Counter({site_id: count for site_id, count in session.execute(query)})


def counted(site: Site) -> Emit:
    """What everyone hears of a site's counts."""
    event = SiteCounted(id=site.id, expected=site.expected, present=site.present)
    return Emit(event, site_id=site.id)


def import_roster(session: Session, actor: Actor, command: ImportRoster, now: datetime) -> Outcome:
    """Result ``{"imported", "created", "drawn"}``: rows, new persons, codes that we drew."""
    conference = conference_of(session, actor, CHANGEABLE)
    sites = {site.slug: site.id for site in sites_of(session, conference.id)}
    rows = _check(command.rows, sites)
    units = _units(session, conference, {row.unit for row in rows})
    _match_by_name(session, conference, rows)
    drawn = _draw_missing(session, rows)
    created = _write_persons(session, rows, units)
    touched = _write_entries(session, conference, rows)
    per_site = Counter(row.site_id for row in rows)
    expected = recount(session, conference.id)
    emits: list[Emit] = []
    for site in sites_of(session, conference.id):
        if site.id not in touched:
            continue
        site.expected = expected.get(site.id, 0)
        event = RosterImported(site=site.id, count=per_site[site.id])
        emits += [Emit(event, site_id=site.id), counted(site)]
    return Outcome({"imported": len(rows), "created": created, "drawn": drawn}, emits)


def remove_from_roster(
    session: Session, actor: Actor, command: RemoveFromRoster, now: datetime
) -> Outcome:
    """Attendance undoes a check-in by the effect of ``roster.removed``.

    Result ``{"revoked": [seat id]}``: the person's phone leaves.
    """
    conference = conference_of(session, actor, CHANGEABLE)
    entry = session.get(RosterEntry, (conference.id, command.person))
    if entry is None:
        raise NotFound(N_("Người này không có trong danh sách."))
    site = session.get_one(Site, entry.site_id)
    session.delete(entry)
    revoked = revoke(session, now, conference_id=conference.id, person_id=command.person)
    site.expected = max(0, site.expected - 1)
    event = RosterEntryRemoved(site=site.id, person=command.person)
    emits = [Emit(event, site_id=site.id, person_id=command.person), counted(site)]
    return Outcome({"revoked": revoked}, emits)


@dataclass(frozen=True, slots=True)
class Expected:
    """One line of a roster, for lists and slips to print."""

    person: int
    code: str
    name: str
    unit: str
    post: str
    group: str
    site: int


def lines(conference_id: int, place: Any) -> Select[Any]:
    """The roster by site and in the Vietnamese order of names: person's id, code, name, unit, post,
    group, and ``place``, a column of the entry or its site. Sites, persons and units may be filtered.
    """
    columns = (Person.id, Person.code, Person.name, func.coalesce(Unit.name, ""))
    return (
        select(*columns, Person.post, Person.group, place)
        .join(RosterEntry, RosterEntry.person_id == Person.id)
        .join(Site, Site.id == RosterEntry.site_id)
        .outerjoin(Unit, Unit.id == Person.unit_id)
        .where(RosterEntry.conference_id == conference_id)
        .order_by(Site.position, Site.id, Person.sort_name, Person.id)
    )


def listed(
    session: Session, conference_id: int, site_id: int | None = None, part: slice = slice(None)
) -> list[Expected]:
    """The roster in the Vietnamese order of names, of one site or all (by their positions); of that
    the ``part`` from its start to its stop."""
    query = lines(conference_id, RosterEntry.site_id)
    if site_id is not None:
        query = query.where(RosterEntry.site_id == site_id)
    if part.stop is not None:
        query = query.slice(part.start or 0, part.stop)
    make: Callable[..., Expected] = Expected
    return [make(*row) for row in session.execute(query)]


ACTIONS: Actions = {
    ImportRoster: (None, import_roster),
    RemoveFromRoster: (None, remove_from_roster),
}
