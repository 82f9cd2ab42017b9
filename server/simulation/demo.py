"""``diemcau demo``: the reference conference in a fresh database, live, with simulated rooms.

Standard output begins with one JSON object for programs (contract.md); people read what follows.
Until the room on stage is heard, the file ``preparing`` in the data folder keeps ``/healthz`` at
503, so that whoever waits for it finds a living conference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from server import config as configuration
from server import supervisor, temporary, tls
from server.conferences.models import AgendaItem, Conference, Site
from server.config import Config
from server.db.engine import Database
from server.db.schema import migrate
from server.inbox import Inbox
from server.people import accounts, links
from server.people.models import Account, Person, Unit, UnitLevel
from server.people.passwords import hash_password
from server.permissions import Actor, Role
from server.protocol import (
    AddSite,
    AgendaEntry,
    Appoint,
    Command,
    CreateActivity,
    CreateConference,
    GiveFloor,
    ImportRoster,
    MoveConference,
    QuizItem,
    RosterRow,
    SetAgenda,
    SiteKind,
    StartItem,
)
from server.simulation import reference
from server.simulation.plan import Plan
from server.simulation.reference import Entry, Room

PHONES_A_SITE = 12
"""Trainees with a connected phone at each simulated site; the others are ticked by hand."""
TRAINEES_TO_TRY = 20
CODES_SHOWN = 5
"""of theirs; programs are told all"""
LINKS_LAST = timedelta(days=2)
SITE_ROLES = (Role.OPERATOR, Role.DISPLAY)


def configure(parsed: argparse.Namespace) -> Config:
    """A configuration of its own under a temporary folder; TLS where others come by network."""
    folder = temporary.make("demo-")
    kept = ["LOG_FORMAT", "LOG_LEVEL", "PUBLIC_URL", "TLS_CERT", "TLS_KEY"]
    kept += ["MEDIA_HOST", "MEDIA_ADDRESSES", "TURN_URL", "TURN_SECRET"]
    environ = {
        configuration.PREFIX + name: os.environ[configuration.PREFIX + name]
        for name in kept
        if configuration.PREFIX + name in os.environ
    }
    environ.setdefault(configuration.PREFIX + "LOG_LEVEL", "warning")
    media_port = 0 if parsed.media_port is None else parsed.media_port
    config = configuration.load(environ, data_dir=folder).with_(
        host=parsed.host, port=parsed.port, media_port=media_port, workers=parsed.workers
    )
    if configuration.is_loopback(config.host):
        # Firefox sends nothing to loopback: media has this machine's other addresses too.
        return config if config.media_host else config.with_(media_host="0.0.0.0")
    if config.tls:
        return config
    addresses = supervisor.announced_addresses(config)
    certificate, key = tls.make_certificate(_cache(), (*addresses, "localhost"))
    return config.with_(tls_cert=certificate, tls_key=key)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Load, serve and act until Ctrl-C; then nothing is left behind. Raises: PortInUse."""
    preparing = config.data_dir / "preparing"
    preparing.touch()
    server = supervisor.Supervisor(config)
    try:
        server.bind()  # a port in use is told before the roster is loaded
        migrate(config.database_url)
        plan = asyncio.run(load(config, parsed.simulate))
        plan.verify_tls = not config.tls
        plan.preparing, plan.clips = str(preparing), str(_cache() / "clips")

        def ready(running: supervisor.Supervisor) -> None:
            plan.base_url = _reachable(config, running.base_url)
            print(json.dumps(_announcement(plan), ensure_ascii=False), flush=True)
            _tell(plan)
            path = config.data_dir / "plan.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps(asdict(plan)), encoding="utf-8")
            running.keep("simulation", "server.simulation.troupe", str(path))

        asyncio.run(supervisor.run(server, ready))
        return 0
    finally:
        temporary.remove(config.data_dir)


def _reachable(config: Config, base_url: str) -> str:
    """An address for other devices too, where the server listens on every interface."""
    if config.public_url or config.host not in ("", "0.0.0.0", "::"):
        return base_url
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{supervisor.announced_addresses(config)[0]}:{parts.port}"


def _cache() -> Path:
    """Where clips and the certificate outlive a demo."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "diemcau"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _announcement(plan: Plan) -> Mapping[str, object]:
    urls = {role: f"{plan.base_url}/join/{token}" for role, token in plan.links.items()}
    return {
        "base_url": plan.base_url,
        "conference": plan.conference,
        "recording": plan.recording,
        "urls": {**urls, "check_in": f"{plan.base_url}/c/{plan.join_code}"},
        "tokens": {"encoder": plan.encoder, "viewer": plan.links["viewer"]},
        "trainee_codes": plan.trainee_codes,
    }


def _tell(plan: Plan) -> None:
    vacant = next(room.name for room in reference.SITES if room.slug == reference.VACANT)
    told = {
        "organiser": "Ban tổ chức",
        "moderator": "Bàn điều phối",
        "operator": f"Cán bộ kỹ thuật, điểm cầu {vacant} (để trống cho bạn)",
        "display": f"Màn hình điểm cầu {vacant}",
        "trainee": f"Điện thoại một học viên của {vacant}",
        "speaker": "Báo cáo viên",
        "advisor": "Tổ tham mưu",
        "observer": "Giám sát",
        "viewer": "Xem lại bản ghi",
    }
    print(f"\n{reference.TITLE}\n")
    for role, about in told.items():
        print(f"  {about}\n    {plan.base_url}/join/{plan.links[role]}")
    print(f"\n  Học viên quét mã, hoặc mở {plan.base_url}/c/{plan.join_code}")
    print(f"  rồi nhập một trong các mã: {', '.join(plan.trainee_codes[:CODES_SHOWN])}")
    names = ", ".join(dict.fromkeys(name for _role, name, _full in reference.PEOPLE))
    print(f"\n  Đăng nhập: {names}; mật khẩu: {plan.password}")
    if not plan.verify_tls:
        print("\n  Chứng chỉ tự tạo: trình duyệt sẽ hỏi một lần, chọn “Nâng cao” rồi “Tiếp tục”.")
    print("\n  Ctrl-C để dừng.\n", flush=True)


# --- loading -------------------------------------------------------------------------------------


async def load(config: Config, simulate: int) -> Plan:
    """Fill the database by the same commands as people's; the conference is live at the end."""
    database = Database(config.database_url)
    inbox = Inbox(database)
    inbox.start()
    try:
        return await _Loader(inbox, database).load(simulate)
    finally:
        await inbox.stop()
        database.close()


class _Loader:
    def __init__(self, inbox: Inbox, database: Database) -> None:
        self._inbox, self._database = inbox, database
        self._plan = Plan(password=secrets.token_urlsafe(9))

    async def load(self, simulate: int) -> Plan:
        """Raises: DomainError where our own data does not follow our own rules."""
        organiser = await self._inbox.transact(self._people)
        begins_at = _day_start()
        made = await self._inbox.submit(
            organiser,
            CreateConference(
                title=reference.TITLE,
                organiser=reference.ORGANISER,
                starts_at=begins_at,
                ends_at=begins_at + timedelta(hours=10),
                timezone=reference.TIMEZONE,
                slug=reference.SLUG,
            ),
        )
        self._actor = Actor(
            organiser.holder, Role.ORGANISER, made["id"], account_id=organiser.account_id
        )
        await self._prepare(begins_at)
        rows = reference.roster()
        await self._act(ImportRoster(rows=tuple(_row(entry) for entry in rows)))
        await self._inbox.transact(_plant_units)
        simulated = _simulated(simulate)
        await self._go_live(simulated[0])
        await self._inbox.transact(lambda s: self._invite(s, made["id"], rows, simulated))
        return self._plan

    async def _act(self, command: Command) -> None:
        await self._inbox.submit(self._actor, command)

    def _people(self, session: Session) -> Actor:
        now = datetime.now(UTC)
        hashed = hash_password(self._plan.password)  # slow by design: once for all
        for role, username, name in reference.PEOPLE:
            organises = role == Role.ORGANISER
            accounts.create_account(
                session, username, hashed, now, name=name, is_organiser=organises
            )
        return accounts.actor_of_account(_account(session, reference.PEOPLE[0][1]))

    async def _prepare(self, begins_at: datetime) -> None:
        for role, username, _name in reference.PEOPLE[1:]:
            await self._act(Appoint(username=username, role=role))  # type: ignore[arg-type]
        for room in reference.SITES:
            kind: SiteKind = "main" if room.kind == "main" else "remote"
            await self._act(AddSite(name=room.name, slug=room.slug, kind=kind))
        items = [
            AgendaEntry(
                title=talk.title,
                kind=talk.kind,  # type: ignore[arg-type]
                speaker=talk.speaker,
                starts_at=starts_at,
                ends_at=ends_at,
            )
            for talk, starts_at, ends_at in reference.agenda_times(begins_at)
        ]
        await self._act(SetAgenda(items=tuple(items)))
        for quiz in reference.QUIZZES:
            choices = tuple(QuizItem(**asdict(choice)) for choice in quiz.items)
            await self._act(CreateActivity(title=quiz.title, items=choices))

    async def _go_live(self, on_stage: Room) -> None:
        await self._act(MoveConference(to="lobby"))
        await self._act(MoveConference(to="live"))
        sites = await self._database.read(_site_ids)
        await self._act(GiveFloor(site=sites[on_stage.slug]))
        await self._act(StartItem(item=await self._database.read(_item_id, reference.CURRENT)))

    def _invite(
        self, session: Session, conference_id: int, rows: list[Entry], simulated: list[Room]
    ) -> None:
        """Links for the troupe and for people."""
        now = datetime.now(UTC)
        plan, sites = self._plan, _site_ids(session)
        conference = session.get_one(Conference, conference_id)
        plan.conference, plan.join_code = conference.slug, conference.join_code
        plan.recording = conference.recording or ""

        def link(role: Role, **about: int) -> str:
            _link, token = links.create_link(
                session,
                role,
                conference_id,
                now,
                now + LINKS_LAST,
                site_id=about.get("site"),
                account_id=about.get("account"),
                person_id=about.get("person"),
                reusable=True,
            )
            return token

        for room in simulated:
            plan.encoders[room.slug] = link(Role.ENCODER, site=sites[room.slug])
            plan.operators[room.slug] = link(Role.OPERATOR, site=sites[room.slug])
            own = [entry for entry in rows if entry.site == room.slug]
            plan.phones += [{"code": e.code, "site": e.site} for e in own[:PHONES_A_SITE]]
        for name, username, _full in reversed(reference.PEOPLE):
            plan.links[name] = link(Role(name), account=_account(session, username).id)
        vacant = sites[reference.VACANT]
        for role in SITE_ROLES:
            plan.links[role.value] = link(role, site=vacant)
        codes = [entry.code for entry in rows if entry.site == reference.VACANT]
        plan.trainee_codes = codes[1 : 1 + TRAINEES_TO_TRY]
        person = session.scalars(select(Person.id).where(Person.code == codes[0])).one()
        plan.links["trainee"] = link(Role.TRAINEE, site=vacant, person=person)
        plan.links["viewer"] = link(Role.VIEWER)
        plan.encoder = link(Role.ENCODER, site=vacant)


def _simulated(count: int) -> list[Room]:
    """Which sites are simulated: never the vacant one; the first is on stage."""
    rooms = [room for room in reference.SITES if room.slug != reference.VACANT]
    return rooms[: max(1, min(count, len(rooms)))]


def _day_start() -> datetime:
    """So that the agenda item under way began a few minutes ago, on a full five minutes."""
    zone = ZoneInfo(reference.TIMEZONE)
    now = datetime.now(zone).replace(second=0, microsecond=0)
    now -= timedelta(minutes=now.minute % 5)
    return now - timedelta(minutes=reference.AGENDA[reference.CURRENT].from_min)


def _plant_units(session: Session) -> None:
    """Hang the roster's units into the province's tree; its levels are data."""
    names = ("Cấp tỉnh", "Cấp huyện", "Cấp xã")
    levels = [UnitLevel(name=name, rank=rank) for rank, name in enumerate(names)]
    session.add_all(levels)
    session.flush()
    flat = session.scalars(select(Unit)).all()
    province = Unit(name=reference.PROVINCE, level_id=levels[0].id)
    session.add(province)
    session.flush()
    districts: dict[str, int] = {}
    for room in reference.SITES[1:]:
        district = Unit(name=room.name, level_id=levels[1].id, parent_id=province.id)
        session.add(district)
        session.flush()
        districts[room.slug] = district.id
    for unit in flat:
        slug = reference.district_of(unit.name)
        unit.parent_id = districts[slug] if slug else province.id
        unit.level_id = levels[2].id if slug else levels[0].id


def _row(entry: Entry) -> RosterRow:
    return RosterRow(
        name=entry.name,
        site=entry.site,
        code=entry.code,
        unit=entry.unit,
        post=entry.post,
        group=entry.group,
    )


def _account(session: Session, username: str) -> Account:
    account = accounts.find_account(session, username)
    assert account is not None
    return account


def _site_ids(session: Session) -> dict[str, int]:
    return {slug: id_ for slug, id_ in session.execute(select(Site.slug, Site.id))}


def _item_id(session: Session, position: int) -> int:
    query = select(AgendaItem.id).order_by(AgendaItem.position).offset(position).limit(1)
    return session.scalars(query).one()
