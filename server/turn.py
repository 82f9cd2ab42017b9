"""Time-limited credentials for a TURN server.

The REST scheme (draft-uberti-behave-turn-rest-00) that coturn calls ``use-auth-secret``: the name
is the moment of expiry and who asked, the password its HMAC-SHA1 under the shared secret.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass

from server.config import Config

LASTS_S = 86400
"""An allocation is refreshed with the credentials that made it: longer than a day's conference."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A TURN server for one holder; the names are those of W3C's ``RTCIceServer``."""

    urls: str
    username: str
    credential: str


def ice_servers(config: Config, holder: str, now_s: float) -> list[IceServer]:
    """What ``holder`` may use for a day from ``now_s`` (Unix time); empty without TURN."""
    if config.turn_url is None or config.turn_secret is None:
        return []
    name = f"{int(now_s) + LASTS_S}:{holder}"
    digest = hmac.new(config.turn_secret.encode(), name.encode(), "sha1").digest()
    return [IceServer(config.turn_url, name, base64.b64encode(digest).decode())]
