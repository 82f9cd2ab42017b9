"""Connectivity checks of every peer of a worker (RFC 8445, 7.3; RFC 8489).

A check finds its peer by our username fragment and proves itself by our password; from then on its
path leads to the peer. No other one is answered.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

from server.media import stun, tcp
from server.media.binding import Binding, Path

if TYPE_CHECKING:
    from server.media.ice import IceLite

TCP_LATER_S = 0.25
"""so much later the first check over TCP is answered: UDP, which suits media better, is found first
where it passes, and browsers that began with TCP may stay there"""


class Checks:
    """Whose credentials are whose, and the answers to what uses them."""

    def __init__(self, ice: IceLite) -> None:
        self._ice = ice
        self._by_ufrag: dict[str, Binding] = {}

    def add_credentials(self, binding: Binding) -> None:
        """Give ``binding`` a further ufrag (RFC 8839, 5.4: at least 24 and 128 random bits)."""
        ufrag, password = secrets.token_hex(6), secrets.token_hex(16)
        while len(binding.credentials) > 1:  # a restart that was never used
            self._by_ufrag.pop(binding.credentials.pop()[0], None)
        binding.credentials.append((ufrag, password))
        self._by_ufrag[ufrag] = binding

    def drop_old_credentials(self, binding: Binding) -> None:
        """After a restart only the newest credentials remain."""
        for ufrag, _ in binding.credentials[:-1]:
            self._by_ufrag.pop(ufrag, None)
        del binding.credentials[:-1]
        binding.nominated = False

    def forget(self, binding: Binding) -> None:
        """No check finds ``binding`` any more."""
        for ufrag, _ in binding.credentials:
            self._by_ufrag.pop(ufrag, None)

    def take(self, data: bytes, path: Path, now_s: float) -> None:
        """What looks like STUN, from anybody."""
        check = stun.parse_check(data)
        binding = self._by_ufrag.get(check.local_ufrag) if check is not None else None
        if check is None or binding is None:
            self._ice.refuse("check", path)
            return
        password = dict(binding.credentials)[check.local_ufrag]
        if not check.verify(password):
            self._ice.refuse("check", path)
            return
        if check.controlled:  # a lite agent is always the controlled one (RFC 8445, 6.1.1)
            reply = stun.error(check.transaction, stun.ROLE_CONFLICT, "Role Conflict", password)
            self._ice.send(reply, path)
            return
        if not isinstance(path, tcp.Connection):
            self._answer(check, path, (path[0], path[1]), binding, now_s)
            return
        path.proven = True
        if binding.path is None:
            answer = partial(self._answer_later, check, path, binding)
            asyncio.get_running_loop().call_later(TCP_LATER_S, answer)
        else:
            self._answer(check, path, path.remote, binding, now_s)

    def _answer(
        self,
        check: stun.Check,
        path: Path,
        remote: tuple[str, int],
        binding: Binding,
        now_s: float,
    ) -> None:
        password = dict(binding.credentials)[check.local_ufrag]
        self._ice.send(stun.success(check.transaction, remote, password), path)
        self._ice.lead(path, binding)
        binding.checked(check, path, now_s)

    def _answer_later(self, check: stun.Check, path: tcp.Connection, binding: Binding) -> None:
        if self._by_ufrag.get(check.local_ufrag) is binding:
            if path.is_open:
                self._answer(check, path, path.remote, binding, time.monotonic())
        elif not self._ice.leads(path):
            path.close()  # it leads to nobody, so nothing else would ever end it
