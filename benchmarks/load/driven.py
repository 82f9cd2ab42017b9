"""A process of load that takes orders: JSON objects on its standard input, answers on its output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0
"""for hanging up all, before it is killed"""


class Driven:
    """``script`` of this folder with ``arguments``, behind ``prefix``; ``prepare`` runs in it first.

    What it writes to its standard error is seen on ours.
    """

    def __init__(
        self,
        script: str,
        *arguments: str,
        prefix: Sequence[str] = (),
        prepare: Callable[[], None],
    ) -> None:
        self._process = subprocess.Popen(
            [*prefix, sys.executable, str(Path(__file__).with_name(script)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )

    def tell(self, what: str, **order: Any) -> None:
        """Give an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **order}) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Its next answer. Raises: RuntimeError where it failed."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the load has ended"}
        if "error" in answer or answer.get("refused"):
            raise RuntimeError(str(answer))
        return answer

    def do(self, what: str, **order: Any) -> dict[str, Any]:
        """Give an order and await its end. Raises: RuntimeError where it failed."""
        self.tell(what, **order)
        return self.hear()

    def stop(self) -> None:
        """Hang up all, by force where that takes long. Never raises: it would hide why one stops."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            with suppress(OSError):  # it may have ended before it read all orders
                self._process.stdin.close()
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            print(f"the load did not end within {PATIENCE_S:.0f} s: killed", file=sys.stderr)
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
