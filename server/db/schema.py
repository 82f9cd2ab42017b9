"""The schema of a database: made and upgraded by migrations, and required before anything is served.

Alembic takes long to import: only what migrates does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from server.db.engine import DatabaseUnusable, make_engine, sqlite_file
from server.errors import N_

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

MIGRATIONS = Path(__file__).parent / "migrations"
DURABLE = ("fsync", "full_page_writes")

_NONE_YET = N_(
    "Chưa có cơ sở dữ liệu ở %(where)s. Hãy tạo bằng lệnh: diemcau migrate (make serve làm sẵn "
    "việc này; diemcau demo không cần)."
)


def alembic_config(connection: Connection | None = None) -> AlembicConfig:
    """Alembic's configuration without a file; ``connection`` is what it will work on."""
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def migrate(url: str) -> None:
    """Bring the database to this version's schema, making it where there is none.

    Raises: DatabaseUnusable where it cannot be reached or is of a newer version.
    """
    from alembic import command

    with _connected(url) as connection:
        _require_known(connection)
        command.upgrade(alembic_config(connection), "head")


def require_current(url: str) -> None:
    """Raises: DatabaseUnusable unless the database is reachable and has exactly our schema."""
    file = sqlite_file(url)
    if file is not None and not file.exists():  # connecting would make it
        raise DatabaseUnusable(_NONE_YET, where=file)
    with _connected(url) as connection:
        revision = _require_known(connection)
        if revision is None:
            raise DatabaseUnusable(_NONE_YET, where=_shown(connection.engine))
        if revision != revisions()[-1]:
            raise DatabaseUnusable(
                N_("Cơ sở dữ liệu thuộc phiên bản cũ hơn. Hãy chạy lệnh: diemcau migrate")
            )


def unsafe_settings(url: str) -> list[str]:
    """PostgreSQL's settings that are off though what is acknowledged hangs on them: without ``fsync``
    a commit may not be on disk, without ``full_page_writes`` a page half written at a power cut stays
    so. They are the cluster's, no session's as ``synchronous_commit`` is. None on SQLite.

    Raises: DatabaseUnusable where it cannot be reached.
    """
    if sqlite_file(url) is not None:
        return []
    query = "SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting = 'off' ORDER BY name"
    with _connected(url) as connection:
        return list(connection.exec_driver_sql(query, (list(DURABLE),)).scalars())


def _shown(engine: Engine) -> str:
    return engine.url.set(query={}).render_as_string(hide_password=True)


def revisions() -> list[str]:
    """Of all migrations, from the first to the last: the numbers with which their files begin."""
    return sorted(path.name[:4] for path in MIGRATIONS.glob("versions/[0-9]*.py"))


def _require_known(connection: Connection) -> str | None:
    current: str | None = None
    if inspect(connection).has_table("alembic_version"):
        current = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if current is not None and current not in revisions():
        raise DatabaseUnusable(
            N_(
                "Cơ sở dữ liệu thuộc phiên bản mới hơn chương trình này (%(revision)s). "
                "Hãy nâng cấp Điểm Cầu, hoặc dùng cơ sở dữ liệu khác."
            ),
            revision=current,
        )
    return current


class _connected:
    """A transaction on a fresh engine, whose failures to connect are said for people."""

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url)

    def __enter__(self) -> Connection:
        try:
            self._connection = self._engine.connect()
            self._transaction = self._connection.begin()
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise DatabaseUnusable(
                N_("Không kết nối được với cơ sở dữ liệu %(where)s: %(why)s"),
                where=_shown(self._engine),
                why=(str(error.__cause__ or error).splitlines() or [""])[0],
            ) from error
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is None:
            self._transaction.commit()
        else:
            self._transaction.rollback()
        self._connection.close()
        self._engine.dispose()
