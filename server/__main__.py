"""The ``diemcau`` commands. Exit codes: 0 done, 1 refused, 2 wrong usage, configuration or port."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from server import config as configuration
from server import logs
from server.config import Config, ConfigError
from server.errors import DomainError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Command = Callable[[Config, argparse.Namespace], int]
TOKEN_LASTS = timedelta(days=365)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what goes wrong is one sentence on standard error."""
    parsed = _parser().parse_args(arguments)
    os.umask(0o077)  # accounts, check-ins, recordings: what we write is for us alone
    try:
        config = parsed.configure(parsed)
        logs.configure(config.log_format, config.log_level)
        run: Command = parsed.run
        return run(config, parsed)
    except ConfigError as error:
        return _complain(str(error), 2)
    except DomainError as error:
        return _complain(error.message % error.values if error.values else error.message, 1)


def _complain(text: str, code: int) -> int:
    print(f"diemcau: {text}", file=sys.stderr)
    return code


def _configure(parsed: argparse.Namespace) -> Config:
    names = ("host", "port", "media_port", "workers")
    return configuration.load().with_(**{name: getattr(parsed, name, None) for name in names})


def _configure_to_look(_parsed: argparse.Namespace) -> Config:
    """For a command that makes nothing, not even a missing data folder."""
    return configuration.load(makes=False)


def _configure_demo(parsed: argparse.Namespace) -> Config:
    """The demo keeps to itself: a fresh database under a temporary folder."""
    from server.simulation import demo

    made: Config = demo.configure(parsed)
    return made


def _setting(option: str) -> Callable[[str], object]:
    """An option is checked as the setting of its name is."""
    setting = configuration.SETTINGS[option.replace("-", "_").upper()]

    def parse(text: str) -> object:
        try:
            return setting.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="diemcau", description="Máy chủ hội nghị Điểm Cầu.")
    commands = parser.add_subparsers(required=True, metavar="lệnh")

    def add(name: str, run: Command, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(run=run, configure=_configure)
        return command

    for name, run, about in (
        ("serve", _serve, "chạy máy chủ"),
        ("demo", _demo, "chạy hội nghị mẫu với các điểm cầu mô phỏng"),
    ):
        command = add(name, run, about)
        command.add_argument("--host", help="địa chỉ lắng nghe")
        for option, about in (
            ("port", "cổng HTTP; 0 chọn cổng trống"),
            ("media-port", "cổng media đầu tiên; 0 chọn cổng trống"),
            ("workers", "số tiến trình media"),
        ):
            command.add_argument(f"--{option}", type=_setting(option), help=about)
        if name == "demo":
            command.add_argument("--simulate", type=int, default=10, help="số điểm cầu mô phỏng")
            command.set_defaults(configure=_configure_demo)
    add("migrate", _migrate, "tạo hoặc nâng cấp cơ sở dữ liệu")
    doctor = add("doctor", _doctor, "in cấu hình đang có hiệu lực và những gì chưa ổn")
    doctor.set_defaults(configure=_configure_to_look)
    user = add("create-user", _create_user, "tạo tài khoản; mật khẩu đọc từ bàn phím hoặc stdin")
    user.add_argument("username")
    user.add_argument("--name", default="", help="họ và tên")
    user.add_argument("--organiser", action="store_true", help="được tạo hội nghị")
    token = add("token", _token, "in mã truy cập cho WHIP (encoder) hoặc WHEP và HLS (viewer)")
    token.add_argument("conference", help="tên ngắn của hội nghị")
    token.add_argument("--role", choices=("encoder", "viewer"), required=True)
    token.add_argument("--site", help="tên ngắn của điểm cầu (encoder)")
    return parser


def _serve(config: Config, _parsed: argparse.Namespace) -> int:
    from server import supervisor
    from server.db.schema import require_current
    from server.https import tls_context

    require_current(config.database_url)
    tls_context(config)  # says what is wrong with the certificate before anything starts

    def ready(running: supervisor.Supervisor) -> None:
        print(running.base_url, flush=True)

    server = supervisor.Supervisor(config)
    try:
        server.bind()
        asyncio.run(supervisor.run(server, ready))
    except supervisor.PortInUse as error:
        return _complain(str(error), 2)
    return 0


def _demo(config: Config, parsed: argparse.Namespace) -> int:
    from server.simulation import demo
    from server.supervisor import PortInUse

    try:
        code: int = demo.run(config, parsed)
    except PortInUse as error:
        return _complain(str(error), 2)
    return code


def _migrate(config: Config, _parsed: argparse.Namespace) -> int:
    from server.db.schema import migrate

    migrate(config.database_url)
    print("Cơ sở dữ liệu đã ở phiên bản mới nhất.")
    return 0


def _doctor(config: Config, _parsed: argparse.Namespace) -> int:
    from server import doctor

    problems = doctor.report(config, sys.stdout)
    return 1 if problems else 0


def _write(config: Config, work: Callable[[Session], str]) -> str:
    """Run ``work`` in a transaction of its own; the database must have our schema."""
    from server.db.engine import Database
    from server.db.schema import require_current

    require_current(config.database_url)
    database = Database(config.database_url, readers=1)
    try:
        with database.write_session() as session:
            made = work(session)
            session.commit()
            return made
    finally:
        database.close()


def _create_user(config: Config, parsed: argparse.Namespace) -> int:
    from server.people.accounts import create_account
    from server.people.passwords import hash_password

    if sys.stdin.isatty():
        password = getpass.getpass("Mật khẩu: ")
        if getpass.getpass("Nhập lại: ") != password:
            return _complain("Hai lần nhập không giống nhau.", 1)
    else:
        password = sys.stdin.readline().rstrip("\r\n")

    def create(session: Session) -> str:
        account = create_account(
            session,
            parsed.username,
            hash_password(password),
            datetime.now(UTC),
            name=parsed.name,
            is_organiser=parsed.organiser,
        )
        return account.username

    print(f"Đã tạo tài khoản {_write(config, create)}.")
    return 0


def _token(config: Config, parsed: argparse.Namespace) -> int:
    from sqlalchemy import select

    from server.conferences.models import Conference, Site
    from server.people.links import create_link
    from server.permissions import Role

    if (parsed.role == "encoder") != (parsed.site is not None):
        return _complain("--site cần cho encoder, và chỉ cho encoder.", 2)

    def create(session: Session) -> str:
        conference = session.scalar(select(Conference).where(Conference.slug == parsed.conference))
        if conference is None:
            raise DomainError(f"Không có hội nghị “{parsed.conference}”.")
        site = None
        if parsed.site is not None:
            query = select(Site).where(
                Site.conference_id == conference.id, Site.slug == parsed.site
            )
            site = session.scalar(query)
            if site is None:
                raise DomainError(f"Hội nghị này không có điểm cầu “{parsed.site}”.")
        now = datetime.now(UTC)
        _link, token = create_link(
            session,
            Role(parsed.role),
            conference.id,
            now,
            now + TOKEN_LASTS,
            site_id=site.id if site else None,
        )
        return token

    print(_write(config, create))
    return 0


if __name__ == "__main__":
    sys.exit(main())
