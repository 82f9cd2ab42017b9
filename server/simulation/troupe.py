"""The demo's troupe, a process of its own: simulated rooms and the people in them.

``python -m server.simulation.troupe PLAN`` with the plan that demo.py wrote.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import structlog

from server import logs, paths
from server.parents import end_with_parent
from server.simulation import reference
from server.simulation.clips import Clip, make_clip
from server.simulation.crowd import Crowd, Trainee
from server.simulation.plan import Plan
from server.simulation.publisher import SimulatedSite

log = structlog.get_logger("troupe")

FONTS = tuple(
    paths.STATIC / "vendor" / "be-vietnam-pro" / f"be-vietnam-pro-{subset}-600-normal.woff2"
    for subset in ("latin", "vietnamese", "latin-ext")
)
"""Every letter of a site's name is in one of these subsets."""
_CORES = 2


def _make_clips(plan: Plan) -> dict[str, Clip]:
    """The clip of each simulated site; those not made before are made on two cores."""
    rooms = [(i, room) for i, room in enumerate(reference.SITES) if room.slug in plan.encoders]
    folder = Path(plan.clips)
    # A worker whose parent was killed would wait for ever: it holds both ends of its queues.
    with ProcessPoolExecutor(_CORES, initializer=end_with_parent, initargs=(os.getpid(),)) as pool:
        jobs = {
            room.slug: pool.submit(make_clip, room.name, index, folder, FONTS)
            for index, room in rooms
        }
        return {slug: job.result() for slug, job in jobs.items()}


async def _act(plan: Plan) -> None:
    clips = await asyncio.to_thread(_make_clips, plan)
    sites = [
        SimulatedSite(
            plan.base_url, plan.conference, token, clips[slug], verify_tls=plan.verify_tls
        )
        for slug, token in plan.encoders.items()
    ]
    crowd = Crowd(
        plan.base_url,
        plan.join_code,
        [Trainee(**phone) for phone in plan.phones],
        plan.operators,
        reference.QUESTIONS,
        verify_tls=plan.verify_tls,
    )
    async with asyncio.TaskGroup() as acting:
        for site in sites:
            acting.create_task(site.run())
        await sites[0].connected.wait()
        Path(plan.preparing).unlink(missing_ok=True)
        acting.create_task(crowd.run())


async def _main(plan: Plan) -> None:
    acting = asyncio.create_task(_act(plan))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, acting.cancel)
    try:
        await acting
    except asyncio.CancelledError:
        pass
    except Exception:
        # wait_for of Python 3.11 returns what came in the same moment instead of ending: whoever goes on
        # then finds that no task may begin any more.
        if not acting.cancelling():
            raise


if __name__ == "__main__":
    logs.configure("console", "warning")
    asyncio.run(_main(Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
