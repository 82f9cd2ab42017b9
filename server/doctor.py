"""``diemcau doctor``: what is in force, and what is wrong with it. It looks and makes nothing."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from server import paths
from server.config import PREFIX, SETTINGS, Config, is_loopback
from server.errors import DomainError
from server.supervisor import PortInUse, announced_addresses, listen_media, listen_tcp

MIN_FREE_BYTES = 2 * 1000**3
"""An hour of a recording at 4 Mbit/s is 1.8 GB."""


def report(config: Config, out: TextIO) -> list[str]:
    """Print the configuration without its secrets, then the problems; gives the problems."""
    for name, setting in SETTINGS.items():
        print(f"{PREFIX}{name} = {_shown(name, getattr(config, setting.field))}", file=out)
    print(f"{PREFIX}MEDIA_HOST → {config.media_listens_on}", file=out)
    print(f"{PREFIX}MEDIA_ADDRESSES → {', '.join(announced_addresses(config))}", file=out)
    print(f"static: {paths.STATIC}, templates: {paths.TEMPLATES}", file=out)
    problems = list(_problems(config))
    for problem in problems:
        print(f"✗ {problem}", file=out)
    if not problems:
        print("✓ Không thấy vấn đề nào.", file=out)
    return problems


def _shown(name: str, value: object) -> str:
    if name == "SECRET_KEY" and not value:
        return "(chưa có, sẽ được tạo khi chạy lần đầu)"
    if value is None or value == ():
        return "(không đặt)"
    if name == "DATABASE_URL":
        try:
            return make_url(str(value)).set(query={}).render_as_string(hide_password=True)
        except ArgumentError:
            return "(không đọc được)"
    if SETTINGS[name].secret:
        return "(đã đặt, không in ra)"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _problems(config: Config) -> Iterator[str]:
    from server.config import ConfigError
    from server.db.schema import require_current, unsafe_settings
    from server.https import tls_context

    try:
        require_current(config.database_url)
        for name in unsafe_settings(config.database_url):
            yield (
                f"PostgreSQL đang tắt {name}: mất điện có thể làm mất dữ liệu đã báo là ghi xong, "
                f"hoặc hỏng cơ sở dữ liệu. Hãy đặt {name} = on trong postgresql.conf."
            )
    except DomainError as error:
        yield error.message % error.values if error.values else error.message
    try:
        tls_context(config)
    except ConfigError as error:
        yield str(error)
    key = config.data_dir / "secret_key"
    if key.exists() and stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield f"{key} đọc được bởi người khác; hãy chạy: chmod 600 {key}"
    yield from _folder(config.recordings_dir)
    yield from _ports(config)
    if not config.secure and (config.is_public or not is_loopback(config.host)):
        yield "Không có HTTPS: trình duyệt chỉ cho dùng camera trên localhost (TLS_CERT, TLS_KEY)."
    yield from _media(config)


def _media(config: Config) -> Iterator[str]:
    """Whether people of other machines can reach the media workers."""
    if not config.is_public:
        return
    address = config.media_listens_on
    if is_loopback(address):
        yield (
            f"Media chỉ nghe trên {address} trong khi PUBLIC_URL là {config.public_url}: người ở "
            "máy khác sẽ không có hình và tiếng. Hãy đặt MEDIA_HOST=0.0.0.0."
        )
    announced = announced_addresses(config)
    public = urlsplit(config.public_url or "").hostname
    if not config.media_addresses and public not in announced:
        yield (
            "MEDIA_ADDRESSES chưa đặt: trình duyệt được báo gửi media tới "
            f"{', '.join(announced)}. Hãy đặt địa chỉ mà các điểm cầu tới được."
        )
    elif all(is_loopback(each) for each in config.media_addresses):
        yield "MEDIA_ADDRESSES chỉ có địa chỉ của chính máy này: máy khác sẽ không có hình và tiếng."


def _folder(folder: Path) -> Iterator[str]:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        yield f"{there} là một tệp, nên không có chỗ cho {folder}."
        return
    if not os.access(there, os.W_OK):
        yield f"Không ghi được vào {there}."
    status = os.statvfs(there)
    if status.f_bavail * status.f_frsize < MIN_FREE_BYTES:
        yield f"{folder}: còn dưới 2 GB, không đủ cho một buổi ghi hình."


def _ports(config: Config) -> Iterator[str]:
    held: list[socket.socket] = []
    try:
        held.append(listen_tcp(config.host, config.port))
        for index in range(config.workers):
            held += listen_media(
                config.media_listens_on, config.media_port and config.media_port + index
            )
    except PortInUse as error:
        yield f"{error} (Bình thường nếu máy chủ đang chạy.)"
    finally:
        for each in held:
            each.close()
