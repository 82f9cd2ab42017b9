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
from server.media.limits import Allowance

if TYPE_CHECKING:
    from server.media.ice import IceLite

TCP_LATER_S = 0.25
"""so much later the first check over TCP is answered: UDP, which suits media better, is found first
where it passes, and browsers that began with TCP may stay there"""


PER_S, BURST = 50, 300
"""checks that are answered. Honest agents send one each 20 ms at most (RFC 8445, 14.2; Firefox; Chromium 48),
some at the beginning every pair at once, some times; later one in seconds (RFC 7675)"""


class Credentials:
    """A ufrag and its password, and how much is answered to them.

    What comes over the selected path is counted apart: anybody who has watched a check can send it again
    from elsewhere, and shall not use up what its owner needs to stay, nor, after a restart, to move.
    """

    __slots__ = ("_elsewhere", "_here", "binding", "password", "ufrag")

    def __init__(self, binding: Binding) -> None:
        """At least 24 and 128 random bits (RFC 8839, 5.4)."""
        self.binding = binding
        self.ufrag, self.password = secrets.token_hex(6), secrets.token_hex(16)
        self._here, self._elsewhere = Allowance(PER_S, BURST), Allowance(PER_S, BURST)

    def allowance(self, path: Path) -> Allowance:
        """Of what comes over ``path``."""
        return self._here if path == self.binding.path else self._elsewhere


class Checks:
    """Whose credentials are whose, and the answers to what uses them."""

    def __init__(self, ice: IceLite) -> None:
        self._ice = ice
        self._by_ufrag: dict[str, Credentials] = {}

    def add_credentials(self, binding: Binding) -> None:
        """Give ``binding`` a further ufrag."""
        made = Credentials(binding)
        while made.ufrag in self._by_ufrag:
            made = Credentials(binding)
        while len(binding.credentials) > 1:  # a restart that was never used
            self._by_ufrag.pop(binding.credentials.pop().ufrag, None)
        binding.credentials.append(made)
        self._by_ufrag[made.ufrag] = made

    def drop_old_credentials(self, binding: Binding) -> None:
        """After a restart only the newest credentials remain."""
        for old in binding.credentials[:-1]:
            self._by_ufrag.pop(old.ufrag, None)
        del binding.credentials[:-1]
        binding.nominated = False

    def forget(self, binding: Binding) -> None:
        """No check finds ``binding`` any more."""
        for each in binding.credentials:
            self._by_ufrag.pop(each.ufrag, None)

    def take(self, data: bytes, path: Path, now_s: float) -> None:
        """What looks like STUN, from anybody."""
        check = stun.parse_check(data)
        used = self._by_ufrag.get(check.local_ufrag) if check is not None else None
        if check is None or used is None:
            self._ice.refuse("check", path)
            return
        allowance = used.allowance(path)
        if not allowance.allows(1, now_s):  # nothing is proven then, which costs more
            self._ice.refuse("check-flood", path)
            return
        if not check.verify(used.password):
            self._ice.refuse("check", path)
            return
        allowance.take(1, now_s)
        if check.controlled:  # a lite agent is always the controlled one (RFC 8445, 6.1.1)
            reply = stun.error(
                check.transaction, stun.ROLE_CONFLICT, "Role Conflict", used.password
            )
            self._ice.send(reply, path)
            return
        if not isinstance(path, tcp.Connection):
            self._answer(check, path, (path[0], path[1]), used, now_s)
            return
        path.proven = True
        if used.binding.path is None:
            answer = partial(self._answer_later, check, path, used)
            asyncio.get_running_loop().call_later(TCP_LATER_S, answer)
        else:
            self._answer(check, path, path.remote, used, now_s)

    def _answer(
        self,
        check: stun.Check,
        path: Path,
        remote: tuple[str, int],
        used: Credentials,
        now_s: float,
    ) -> None:
        self._ice.send(stun.success(check.transaction, remote, used.password), path)
        self._ice.lead(path, used.binding)
        used.binding.checked(check, path, now_s)

    def _answer_later(self, check: stun.Check, path: tcp.Connection, used: Credentials) -> None:
        if self._by_ufrag.get(used.ufrag) is used:
            if path.is_open:
                self._answer(check, path, path.remote, used, time.monotonic())
        elif not self._ice.leads(path):
            path.close()  # it leads to nobody, so nothing else would ever end it
