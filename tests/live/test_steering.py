"""What ended while no web process was there to say so ends when the next one begins."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from server.conferences.models import Conference
from server.db.engine import Database
from server.media import messages
from server.media.control import ControlServer
from server.recordings.models import Recording
from server.steering import Steering
from tests.cast import START, Cast

ENDED_AT = datetime.now(UTC) - timedelta(hours=1)


class Worker:
    """The far end of the control socket: says that it carries ``carried``, and ``more``; and listens."""

    steering: Steering

    def __init__(self, path: Path, *carried: str, more: Sequence[messages.FromWorker] = ()) -> None:
        self.heard: list[messages.ToWorker] = []
        said = [*(messages.Published(slug, ()) for slug in carried), *more]
        self.server = ControlServer(
            path,
            lambda send: [send(each) for each in said] and None,
            lambda message, _reply: self.heard.append(message),
        )

    def forgotten(self) -> list[str]:
        return [m.conference for m in self.heard if isinstance(m, messages.Forget)]


@asynccontextmanager
async def steered(
    database: Database, folder: Path, *carried: str, more: Sequence[messages.FromWorker] = ()
) -> AsyncIterator[Worker]:
    """A web process has begun, and a worker is there."""
    worker = Worker(folder / "control.sock", *carried, more=more)
    await worker.server.start()
    steering = Steering(database, [str(folder / "control.sock")], folder)
    worker.steering = steering
    await steering.start()
    yield worker
    await steering.stop()
    await worker.server.stop()


async def until(check: object) -> None:
    """Wait, within generous limits."""
    deadline = time.monotonic() + 10
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def end(database: Database, cast: Cast, folder: Path, *, recorded: bool) -> None:
    """Committed, and no word of it to anybody."""
    with database.write_session() as session:
        conference = session.get_one(Conference, cast.conference_id)
        conference.state = "ended"
        row = Recording(
            id=conference.recording,
            conference_id=conference.id,
            zero_at=START,
            ended_at=ENDED_AT,
        )
        session.add(row)
        session.commit()
        lies = folder / row.id
    lies.mkdir()
    timeline = {"zero_us": 0, "duration_ms": 5, "ended": recorded, "presentation": [], "stage": []}
    (lies / "timeline.json").write_text(json.dumps(timeline))


async def test_a_recording_that_goes_on_is_ended_at_its_conferences_end(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    end(database, cast, tmp_path, recorded=False)
    async with steered(database, tmp_path, "tap-huan") as worker:
        await until(worker.forgotten)
    wanted, *_ = [m for m in worker.heard if isinstance(m, messages.Desired)]
    assert wanted.grants == {} and wanted.stage is None
    assert wanted.recording is not None
    assert (
        wanted.recording.end_us
        == (ENDED_AT - datetime.fromtimestamp(0, UTC)) // ENDED_AT.resolution
    )


async def test_nobody_speaks_any_more_where_the_worker_is_gone(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    """The next one says nothing until somebody does."""
    async with steered(database, tmp_path, "tap-huan") as worker:

        def speaking() -> object:
            return worker.steering.telling.current(cast.conference_id).get("speaking")

        await until(lambda: cast.conference_id in worker.steering.derived)
        await until(lambda: worker.server._writers)
        worker.server.send(messages.Speaking("tap-huan", ("site:hue",)))
        await until(lambda: speaking() == ["site:hue"])
        for writer in worker.server._writers:
            writer.transport.abort()
        await until(lambda: speaking() == [])


async def test_a_new_process_knows_who_publishes_and_speaks(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    """Its worker says so once, before the process has read which conferences there are."""
    camera = messages.Publication("site:hue", "link:1", "s", "H264", True, True, True, True)
    said = (
        messages.Published("tap-huan", (camera,)),
        messages.Speaking("tap-huan", ("site:hue",)),
        messages.Published("unknown", (camera,)),
    )
    async with steered(database, tmp_path, more=said) as worker:
        facts = worker.steering.telling.current(cast.conference_id)
        assert facts["publications"]["site:hue"]["alive"] and facts["speaking"] == ["site:hue"]
        await until(worker.forgotten)
        assert worker.forgotten() == ["unknown"]
        await until(lambda: not worker.steering._early)


async def test_a_worker_lets_go_of_what_is_over_and_of_nothing_else(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    async with steered(database, tmp_path, "tap-huan", "unknown") as worker:
        await until(worker.forgotten)
    assert worker.forgotten() == ["unknown"]
    end(database, cast, tmp_path, recorded=True)
    async with steered(database, tmp_path, "tap-huan") as worker:
        await until(worker.forgotten)
    assert not [m for m in worker.heard if isinstance(m, messages.Desired)]
