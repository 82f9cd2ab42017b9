"""Pauses that end with a waking that happens anyway."""

from __future__ import annotations

import asyncio
import time

from server.media.beat import Beat


async def test_a_pause_ends_by_itself_or_with_whoever_is_awake_once_it_is_due() -> None:
    beat = Beat()
    begin_s = time.monotonic()
    beat.awake(begin_s)
    await beat.pause(0.01)
    assert time.monotonic() - begin_s >= 0.01

    pause = asyncio.ensure_future(beat.pause(60))
    await asyncio.sleep(0)
    beat.awake(time.monotonic())
    await asyncio.sleep(0)
    assert not pause.done(), "it is not due"
    beat.awake(time.monotonic() + 60)
    beat.awake(time.monotonic() + 60)
    await pause

    pause = asyncio.ensure_future(beat.pause(60))
    await asyncio.sleep(0)
    pause.cancel()
    await asyncio.wait([pause])
    beat.awake(time.monotonic() + 60)
