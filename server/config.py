"""The frozen configuration: defaults, then a TOML file, then ``DIEMCAU_`` variables.

``SETTINGS`` is the one list of names (docs and ``doctor`` read it). Durations and sizes are
written with units (``90s``, ``12h``, ``20MB``) and kept in seconds and bytes.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import secrets
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server.reasons import why

PREFIX = "DIEMCAU_"
_FILE = "CONFIG"
_DURATIONS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES_BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1 << 10, "MIB": 1 << 20}


class ConfigError(Exception):
    """A configuration that cannot be used; the text is for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Config:
    """What is in force. Paths are absolute."""

    data_dir: Path
    database_url: str
    secret_key: str
    """signs CSRF tokens; at least 32 characters"""
    recordings_dir: Path
    public_url: str | None = None
    """scheme and host that people type, without a slash at its end"""
    host: str = "127.0.0.1"
    port: int = 8000
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """networks whose ``X-Forwarded-*`` headers are believed"""
    metrics_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """networks that may read ``/metrics``"""
    media_host: str | None = None
    """address that media listens on; None: see ``media_listens_on``"""
    media_port: int = 7000
    """worker i listens on media_port + i, UDP and TCP; 0 picks free ones"""
    media_addresses: tuple[str, ...] = ()
    """what ICE candidates announce; empty: found from ``media_listens_on`` and the machine"""
    workers: int = 1
    turn_url: str | None = None
    turn_secret: str | None = None
    redis_url: str | None = None
    upload_limit_bytes: int = 20 * 1000**2
    shutdown_timeout_s: float = 10.0
    log_format: str = "console"
    log_level: str = "info"

    @property
    def upload_limit_mb(self) -> int:
        """The largest upload as people read it."""
        return self.upload_limit_bytes // 1000**2

    @property
    def tls(self) -> bool:
        """True where the server itself speaks HTTPS."""
        return self.tls_cert is not None

    @property
    def secure(self) -> bool:
        """True where browsers come by HTTPS (ours, or that of a proxy in front)."""
        return self.tls or (self.public_url or "").startswith("https://")

    @property
    def is_public(self) -> bool:
        """True where people of other machines are meant to come, by PUBLIC_URL."""
        return self.public_url is not None and not is_loopback(urlsplit(self.public_url).hostname)

    @property
    def media_listens_on(self) -> str:
        """MEDIA_HOST; else HOST, or every interface where HOST is behind a proxy on this machine
        (media passes no HTTP proxy, so that loopback could never work there).

        Every interface is ``::``, which takes IPv4 too, where this machine has IPv6."""
        if self.media_host is not None:
            return self.media_host
        behind_proxy = self.is_public and is_loopback(self.host)
        if behind_proxy or self.host in ("", "0.0.0.0"):
            return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
        return self.host

    def base_url(self, port: int | None = None) -> str:
        """The address that people open: PUBLIC_URL, else host and ``port``."""
        if self.public_url:
            return self.public_url
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{host}:{port or self.port}"

    def environment(self) -> dict[str, str]:
        """The ``DIEMCAU_`` variables that make the same configuration in a child process."""
        made = {}
        for name, setting in SETTINGS.items():
            value = getattr(self, setting.field)
            if value is None:
                continue
            made[PREFIX + name] = ",".join(value) if isinstance(value, tuple) else str(value)
        return made

    def with_(self, **changes: Any) -> Config:
        """A copy with ``changes``; those that are None are left as they are."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})


def is_loopback(host: str | None) -> bool:
    """True for a name or address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def duration_s(text: str) -> float:
    """``"90s"``, ``"12h"`` or a plain number of seconds. Raises: ValueError."""
    return _quantity(text, _DURATIONS_S, str.lower)


def size_bytes(text: str) -> int:
    """``"20MB"``, ``"1GiB"`` or a plain number of bytes. Raises: ValueError."""
    return int(_quantity(text, {**_SIZES_BYTES, "GIB": 1 << 30}, str.upper))


def _quantity(text: str, units: Mapping[str, float], case: Callable[[str], str]) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or (match[2] and case(match[2]) not in units):
        raise ValueError(f"cần một số kèm đơn vị ({', '.join(units)})")
    return float(match[1]) * (units[case(match[2])] if match[2] else 1)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("cần một số nguyên") from None


def _port(text: str) -> int:
    number = _number(text)
    if not 0 <= number <= 65535:
        raise ValueError("cổng phải từ 0 đến 65535")
    return number


def _count(text: str) -> int:
    number = _number(text)
    if not 1 <= number <= 64:
        raise ValueError("cần một số từ 1 đến 64")
    return number


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ValueError("cần dạng https://ten-may hoặc http://ten-may:cổng")
    return f"{parts.scheme}://{parts.netloc}"


def _turn(text: str) -> str:
    """A TURN URI, RFC 7065 section 3.1."""
    if not re.fullmatch(r"turns?:[^\s:/?]+(:\d{1,5})?(\?transport=(udp|tcp))?", text):
        raise ValueError("cần dạng turn:ten-may:3478 hoặc turns:ten-may:443?transport=tcp")
    return text


def _secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("cần ít nhất 32 ký tự")
    return text


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"chỉ nhận: {', '.join(allowed)}")
        return text

    return parse


def _path(text: str) -> Path:
    return Path(text).expanduser().resolve()


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _networks(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(part, strict=False)) for part in _list(text))
    except ValueError as error:
        raise ValueError(f"cần địa chỉ hoặc mạng, cách nhau bằng dấu phẩy ({error})") from None


def _addresses(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_address(part)) for part in _list(text))
    except ValueError as error:
        raise ValueError(f"cần địa chỉ IP, cách nhau bằng dấu phẩy ({error})") from None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("cần một địa chỉ của máy này, ví dụ 0.0.0.0") from None


@dataclass(frozen=True, slots=True)
class Setting:
    """One name of the configuration: its field, its parser, what it is."""

    field: str
    parse: Callable[[str], Any]
    about: str
    secret: bool = False


SETTINGS: dict[str, Setting] = {
    "DATA_DIR": Setting("data_dir", _path, "where the database, keys and recordings lie"),
    "DATABASE_URL": Setting("database_url", str, "SQLAlchemy URL; SQLite in DATA_DIR", True),
    "SECRET_KEY": Setting("secret_key", _secret, "signs CSRF tokens; made in DATA_DIR", True),
    "RECORDINGS_DIR": Setting("recordings_dir", _path, "a folder for each recording"),
    "PUBLIC_URL": Setting("public_url", _url, "the address that people open"),
    "HOST": Setting("host", str, "address to listen on"),
    "PORT": Setting("port", _port, "HTTP port"),
    "TLS_CERT": Setting("tls_cert", _path, "PEM certificate chain"),
    "TLS_KEY": Setting("tls_key", _path, "PEM private key"),
    "TRUSTED_PROXIES": Setting(
        "trusted_proxies", _networks, "networks whose X-Forwarded-For and -Proto are believed"
    ),
    "METRICS_NETWORKS": Setting("metrics_networks", _networks, "networks that may read /metrics"),
    "MEDIA_HOST": Setting("media_host", _address, "address that media listens on"),
    "MEDIA_PORT": Setting("media_port", _port, "worker i uses this + i, UDP and TCP"),
    "MEDIA_ADDRESSES": Setting("media_addresses", _addresses, "addresses that candidates announce"),
    "WORKERS": Setting("workers", _count, "media workers"),
    "TURN_URL": Setting("turn_url", _turn, "TURN server for closed networks"),
    "TURN_SECRET": Setting("turn_secret", str, "shared secret of the TURN server", True),
    "REDIS_URL": Setting("redis_url", str, "reserved for several web processes", True),
    "UPLOAD_LIMIT": Setting("upload_limit_bytes", size_bytes, "largest upload"),
    "SHUTDOWN_TIMEOUT": Setting("shutdown_timeout_s", duration_s, "patience at shutdown"),
    "LOG_FORMAT": Setting("log_format", _choice("console", "json"), "console or json"),
    "LOG_LEVEL": Setting("log_level", _choice("debug", "info", "warning"), "least level"),
}


def load(
    environ: Mapping[str, str] | None = None, *, data_dir: Path | None = None, makes: bool = True
) -> Config:
    """Read the configuration. ``data_dir`` is the default where none is configured.

    Makes the data folder and the secret key file (mode 0600) where they are missing; not with
    ``makes`` False, which only looks, and gives an empty key where there is none yet.
    Raises: ConfigError, naming the wrong setting and, for an unknown name, the closest known.
    """
    environ = os.environ if environ is None else environ
    given = _from_file(environ.get(PREFIX + _FILE)) | {
        name.removeprefix(PREFIX): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != PREFIX + _FILE
    }
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in SETTINGS:
            raise ConfigError(_unknown(name))
        try:
            values[SETTINGS[name].field] = SETTINGS[name].parse(text)
        except ValueError as error:
            raise ConfigError(f"{PREFIX}{name}: {error}") from None
    folder = values.setdefault("data_dir", _path(str(data_dir or "var")))
    if makes:
        _make_folder(folder)
    values.setdefault("database_url", f"sqlite:///{folder / 'diemcau.sqlite3'}")
    values.setdefault("recordings_dir", folder / "recordings")
    if "secret_key" not in values:
        key = folder / "secret_key"
        values["secret_key"] = _secret_key(key) if makes or key.exists() else ""
    for one, other in (("TLS_CERT", "TLS_KEY"), ("TURN_URL", "TURN_SECRET")):
        if (SETTINGS[one].field in values) != (SETTINGS[other].field in values):
            raise ConfigError(f"{PREFIX}{one} và {PREFIX}{other} phải được đặt cùng nhau.")
    return Config(**values)


def _from_file(name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    try:
        with open(name, "rb") as file:
            table = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{PREFIX}{_FILE}: không đọc được {name} ({error}).") from None
    return {
        key.upper().removeprefix(PREFIX): (
            ",".join(map(str, value)) if isinstance(value, list) else str(value)
        )
        for key, value in table.items()
    }


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, [*SETTINGS, _FILE], n=1, cutoff=0.0)
    return f"{PREFIX}{name} không phải là tên cấu hình. Gần nhất là {PREFIX}{close[0]}."


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"Không tạo được thư mục dữ liệu {folder}: {why(error)}.") from None


def _secret_key(path: Path) -> str:
    """Read the key file, or make it; two processes that start at once agree on one key."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"Không ghi được {path}: {why(error)}.") from None
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
    try:
        return _secret(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"Khoá bí mật trong {path} không dùng được: {error}.") from None


assert {setting.field for setting in SETTINGS.values()} == {field.name for field in fields(Config)}
