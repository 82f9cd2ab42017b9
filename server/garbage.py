"""How seldom Python looks for reference cycles: that costs more than it finds in a busy process."""

from __future__ import annotations

import gc


def collect_seldom(young: int, older: int) -> None:
    """Once a process has begun. ``young``: new objects until the youngest are looked at; ``older``:
    so many times of that until those are looked at that were left over, and again for the oldest.

    What was made until now stays for good.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, older, older)
