"""Media through a real TURN server, for rooms whose network lets nothing but TCP out."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.simulation.scenes import hue_of
from tests.e2e.conftest import Demo, run_demo
from tests.e2e.pages import SMALL, WAIT_S, eventually
from tests.e2e.test_media import FAKE_CAMERA_HUE

pytestmark = pytest.mark.browser
SECRET = "một bí mật"

# What such a network does: no way but the relay's.
RELAYED = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(given) { super({...given, iceTransportPolicy: "relay"}); }
};
window.ways = async () => {
  const found = [];
  for (const peer of window.peers.filter((each) => each.connectionState === "connected")) {
    const reports = await peer.getStats();
    for (const report of reports.values()) {
      const pair = report.type === "transport" && reports.get(report.selectedCandidatePairId);
      if (!pair) continue;
      // While the line is another one already, the candidate is not told yet.
      const {candidateType, relayProtocol} = reports.get(pair.localCandidateId) ?? {};
      found.push(`${candidateType} by ${relayProtocol}`);
    }
  }
  return found;
};
"""


@pytest.fixture
def turn(tmp_path: Path) -> Iterator[str]:
    """coturn, configured as the guide to deployment has it; its address."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    here = "127.0.0.1"
    options = {
        "static-auth-secret": SECRET,
        "realm": "diemcau",
        "listening-ip": here,
        "listening-port": str(port),
        "relay-ip": here,
        "denied-peer-ip": "0.0.0.0-255.255.255.255",
        "allowed-peer-ip": here,
        "pidfile": str(tmp_path / "turn.pid"),
        "userdb": str(tmp_path / "turn.db"),
        "log-file": "stdout",
    }
    flags = ["use-auth-secret", "no-multicast-peers", "allow-loopback-peers", "no-tls", "no-dtls"]
    command = ["turnserver", "-n", "--no-cli", *(f"--{flag}" for flag in flags)]
    command += [f"--{name}={value}" for name, value in options.items()]
    with (tmp_path / "turn.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _await_port(here, port, tmp_path / "turn.log")
        yield f"turn:{here}:{port}?transport=tcp"
    finally:
        process.terminate()
        process.wait(10)


def _await_port(host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            socket.create_connection((host, port)).close()
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@pytest.fixture
def turned_demo(turn: str, cache: Path, tmp_path: Path) -> Iterator[Demo]:
    """A demo with this TURN server."""
    settings = {
        "DIEMCAU_TURN_URL": turn,
        "DIEMCAU_TURN_SECRET": SECRET,
        "DIEMCAU_MEDIA_ADDRESSES": "127.0.0.1",
    }
    with run_demo(cache, tmp_path / "log", 1, **settings) as running:
        yield running


async def test_a_room_behind_a_closed_network_sees_and_is_seen(
    turned_demo: Demo, sit: Callable[..., Any]
) -> None:
    operator = await sit(turned_demo.urls["operator"], *SMALL, script=RELAYED)
    await operator.sees("#voice", "Micrô thu tốt.")
    await operator.press("#join")
    await operator.sees("#publish-state", "Đang gửi hình và tiếng")
    await operator.shows("#stage", hue_of(0))
    await operator.hears()

    async def ways() -> list[str]:
        return list(await operator.page.evaluate("ways()"))

    async def both_relayed() -> bool:
        return await ways() == ["relay by tcp"] * 2

    await eventually(both_relayed, ways)
    desk = await sit(turned_demo.urls["moderator"])
    await desk.shows("#wall li:has-text('Khoái Châu')", FAKE_CAMERA_HUE)
