"""Janus 1.1 as its package brings it, with nothing but the video room, and how one talks to it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import aiohttp

ROOM = 1234
MAIN = """general: {{
  configs_folder = "{folder}"
  plugins_folder = "{library}/plugins"
  transports_folder = "{library}/transports"
  events_folder = "{library}/events"
  loggers_folder = "{library}/loggers"
  debug_level = 3
  session_timeout = 0
}}
media: {{ ipv6 = false }}
nat: {{ nice_debug = false, ice_enforce_list = "{address}" }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
HTTP = 'general: {{ json = "plain", base_path = "/janus", http = true, port = {port}, ip = "{address}" }}\n'
VIDEO_ROOM = """general: {{}}
room-{room}: {{
  description = "bench"
  publishers = 100
  bitrate = 0
  audiocodec = "opus"
  videocodec = "h264"
  h264_profile = "42e01f"
  audiolevel_ext = true
  transport_wide_cc_ext = true
  notify_joining = false
}}
"""


def configure(folder: Path, address: str, port: int) -> list[str]:
    """Write the configuration; the command that starts Janus with it. Raises: FileNotFoundError."""
    library = next(Path("/usr/lib").glob("*/janus"), None)
    if library is None:
        raise FileNotFoundError("Janus is not installed: apt-get install janus")

    def others(kind: str, kept: str) -> str:
        names = {path.name.partition(".so")[0] + ".so" for path in (library / kind).glob("*.so*")}
        return ",".join(sorted(name for name in names if kept not in name))

    main = MAIN.format(
        folder=folder,
        library=library,
        address=address,
        plugins=others("plugins", "videoroom"),
        transports=others("transports", "http"),
    )
    (folder / "janus.jcfg").write_text(main)
    (folder / "janus.transport.http.jcfg").write_text(HTTP.format(port=port, address=address))
    (folder / "janus.plugin.videoroom.jcfg").write_text(VIDEO_ROOM.format(room=ROOM))
    return ["janus", "-F", str(folder), "-C", str(folder / "janus.jcfg"), "--disable-colors"]


class Session:
    """One session of Janus's HTTP API; each ``attach`` is a handle of the video room."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http = http
        self._base = base
        self._path = ""

    async def start(self) -> None:
        """Create the session."""
        answer = await self._post(self._base, {"janus": "create"})
        self._path = f"{self._base}/{answer['data']['id']}"

    async def _post(self, url: str, message: dict[str, Any]) -> dict[str, Any]:
        body = message | {"transaction": secrets.token_hex(6)}
        async with self._http.post(url, json=body) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
        if answer["janus"] == "error":
            raise RuntimeError(str(answer))
        return answer

    async def _event(self, handle: int) -> dict[str, Any]:
        """The next event with something for ``handle``."""
        while True:
            async with self._http.get(self._path, params={"maxev": "1"}) as response:
                event: dict[str, Any] = await response.json(content_type=None)
            if event.get("janus") == "event" and event.get("sender") == handle:
                data = event["plugindata"]["data"]
                if "error" in data:
                    raise RuntimeError(str(data))
                return event

    async def ask(
        self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """A request to the plugin and its event."""
        message: dict[str, Any] = {"janus": "message", "body": body}
        if jsep is not None:
            message["jsep"] = jsep | {"trickle": False}
        await self._post(f"{self._path}/{handle}", message)
        return await self._event(handle)

    async def attach(self) -> int:
        """A new handle."""
        answer = await self._post(
            self._path, {"janus": "attach", "plugin": "janus.plugin.videoroom"}
        )
        return int(answer["data"]["id"])

    async def publish(self, offer: str) -> tuple[int, str]:
        """(feed, answer) of a new publisher."""
        handle = await self.attach()
        joined = await self.ask(handle, {"request": "join", "ptype": "publisher", "room": ROOM})
        feed = int(joined["plugindata"]["data"]["id"])
        event = await self.ask(handle, {"request": "publish"}, {"type": "offer", "sdp": offer})
        return feed, str(event["jsep"]["sdp"])

    async def offer(self, streams: list[dict[str, Any]]) -> tuple[int, str]:
        """(handle, offer) to a new subscriber of ``streams`` (feed, and mid where not all)."""
        handle = await self.attach()
        event = await self.ask(
            handle,
            {"request": "join", "ptype": "subscriber", "room": ROOM, "streams": streams},
        )
        return handle, str(event["jsep"]["sdp"])

    async def accept(self, handle: int, answer: str) -> None:
        """The subscriber's answer."""
        await self.ask(handle, {"request": "start"}, {"type": "answer", "sdp": answer})
