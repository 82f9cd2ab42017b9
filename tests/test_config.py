"""The configuration: defaults, environment, file, mistakes; the certificate made here."""

from __future__ import annotations

import io
import socket
import ssl
import stat
from pathlib import Path

import pytest

from server.config import SETTINGS, ConfigError, duration_s, load, size_bytes
from server.db.schema import DURABLE
from server.doctor import report
from server.tls import make_certificate

EVERYWHERE = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"


def test_defaults_lie_under_the_data_folder_and_make_a_private_key(tmp_path: Path) -> None:
    config = load({}, data_dir=tmp_path / "var")
    assert config.database_url == f"sqlite:///{tmp_path}/var/diemcau.sqlite3"
    assert config.recordings_dir == tmp_path / "var" / "recordings"
    key = tmp_path / "var" / "secret_key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(config.secret_key) >= 32
    assert load({}, data_dir=tmp_path / "var").secret_key == config.secret_key


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "diemcau.toml"
    file.write_text('PORT = 9000\nmedia_addresses = ["10.0.0.1", "10.0.0.2"]\nUPLOAD_LIMIT="5MB"\n')
    environ = {"DIEMCAU_CONFIG": str(file), "DIEMCAU_PORT": "9001", "HOME": "/root"}
    config = load(environ, data_dir=tmp_path)
    assert config.port == 9001
    assert config.media_addresses == ("10.0.0.1", "10.0.0.2")
    assert config.upload_limit_bytes == 5_000_000


def test_a_child_gets_the_same_configuration(tmp_path: Path) -> None:
    config = load({}, data_dir=tmp_path).with_(port=1234, media_addresses=("10.0.0.1",), workers=2)
    assert load(config.environment()) == config
    nobody = config.with_(trusted_proxies=(), media_host="0.0.0.0")
    assert load(nobody.environment()) == nobody


@pytest.mark.parametrize(
    ("given", "listens_on"),
    [
        ({}, "127.0.0.1"),
        ({"HOST": "10.0.0.5"}, "10.0.0.5"),
        ({"PUBLIC_URL": "http://localhost:8000"}, "127.0.0.1"),
        ({"PUBLIC_URL": "https://diemcau.example"}, EVERYWHERE),
        ({"HOST": "0.0.0.0"}, EVERYWHERE),
        ({"PUBLIC_URL": "https://diemcau.example", "MEDIA_HOST": "0.0.0.0"}, "0.0.0.0"),
        ({"PUBLIC_URL": "https://diemcau.example", "MEDIA_HOST": "::"}, "::"),
        ({"PUBLIC_URL": "https://diemcau.example", "HOST": "10.0.0.5"}, "10.0.0.5"),
    ],
)
def test_media_listens_where_others_reach_it(
    tmp_path: Path, given: dict[str, str], listens_on: str
) -> None:
    environ = {f"DIEMCAU_{name}": value for name, value in given.items()}
    assert load(environ, data_dir=tmp_path).media_listens_on == listens_on


def test_doctor_says_when_others_cannot_reach_media(tmp_path: Path) -> None:
    def said(**given: str) -> str:
        environ = {"PORT": "0", "MEDIA_PORT": "0", "PUBLIC_URL": "https://diemcau.example"} | given
        config = load({f"DIEMCAU_{k}": v for k, v in environ.items()}, data_dir=tmp_path)
        return "\n".join(report(config, io.StringIO()))

    assert "MEDIA_HOST=0.0.0.0" in said(MEDIA_HOST="127.0.0.1")
    assert "MEDIA_ADDRESSES chưa đặt" in said()
    assert "của chính máy này" in said(MEDIA_ADDRESSES="127.0.0.1")
    for fine in (said(MEDIA_ADDRESSES="203.0.113.10"), said(PUBLIC_URL="http://localhost")):
        assert "media" not in fine.lower()


def test_doctor_warns_of_a_database_that_may_lose_what_it_acknowledged(
    tmp_path: Path, database_url: str, kind: str
) -> None:
    """The tests' own PostgreSQL is such a one, since nothing in it is worth keeping."""
    environ = {"DATABASE_URL": database_url, "PORT": "0", "MEDIA_PORT": "0"}
    config = load({f"DIEMCAU_{k}": v for k, v in environ.items()}, data_dir=tmp_path)
    said = report(config, io.StringIO())
    warned = [name for name in DURABLE if any(f"tắt {name}:" in problem for problem in said)]
    assert warned == (list(DURABLE) if kind == "postgresql" else [])


@pytest.mark.parametrize(
    ("wrong", "closest"),
    [("DATABSE_URL", "DATABASE_URL"), ("MEDIA_PORTS", "MEDIA_PORT"), ("TLSCERT", "TLS_CERT")],
)
def test_an_unknown_name_is_refused_with_the_closest_known(
    tmp_path: Path, wrong: str, closest: str
) -> None:
    with pytest.raises(ConfigError, match=f"DIEMCAU_{wrong} .*DIEMCAU_{closest}[.]"):
        load({f"DIEMCAU_{wrong}": "x"}, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("SECRET_KEY", "short"),
        ("PUBLIC_URL", "diemcau.example"),
        ("LOG_FORMAT", "xml"),
        ("UPLOAD_LIMIT", "20 bananas"),
        ("SHUTDOWN_TIMEOUT", "-1s"),
        ("TLS_CERT", "/somewhere.pem"),
        ("TURN_URL", "turn:turn.example"),
        ("TURN_URL", "https://turn.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy.example"),
        ("MEDIA_HOST", "example.vn"),
        ("MEDIA_ADDRESSES", "203.0.113.10, media.example.vn"),
        ("CONFIG", "/no/such/file.toml"),
    ],
)
def test_a_wrong_value_names_its_setting(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"DIEMCAU_{name}"):
        load({f"DIEMCAU_{name}": value}, data_dir=tmp_path)


def test_units() -> None:
    assert [duration_s(text) for text in ("90s", "12h", "250ms", "5")] == [90, 43200, 0.25, 5]
    assert [size_bytes(text) for text in ("20MB", "1GiB", "7")] == [20_000_000, 1 << 30, 7]


def test_every_setting_says_what_it_is() -> None:
    assert all(setting.about for setting in SETTINGS.values())


def test_a_certificate_of_our_own_serves_its_names_and_is_kept(tmp_path: Path) -> None:
    names = ["192.168.1.10", "localhost"]
    certificate, key = make_certificate(tmp_path, names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first = certificate.read_bytes()
    make_certificate(tmp_path, ["localhost"])
    assert certificate.read_bytes() == first
    make_certificate(tmp_path, [*names, "diemcau.lan"])
    assert certificate.read_bytes() != first
