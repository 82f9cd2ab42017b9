"""One conference on this worker: who publishes, who receives, and what each of them gets.

``Conference`` holds the desired state that web told and reconciles what is with it: after every
change ``reconcile`` decides anew, from the desired state and the publications alone, what each
output shows, so no order of events matters. Reports are derived the same way and sent when they
differ from the last ones.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence, Set
from typing import TypeVar

import msgspec

from server.media import levels, messages
from server.media.binding import host_of
from server.media.messages import SILENCE_S
from server.media.negotiation import AUDIO_SLOTS
from server.media.publication import Publication
from server.media.recording import Feed
from server.media.subscription import Receiver, Subscriber, Watcher
from server.media.track import Track

log = logging.getLogger(__name__)

EXPECTED_S = 20.0
"""so long what may soon be on stage is kept ready, unless that is said again"""
CONNECT_S = 25.0
"""from description to the end of the handshake"""

FAULTS = frozenset({"failed", "excess"})
"""reasons of which the log tells"""

Session = Publication | Subscriber
S = TypeVar("S", bound=Session)
Send = Callable[[msgspec.Struct], None]


class Conference:
    """See the module. ``report`` takes messages for web, ``record`` those for the recorder."""

    def __init__(
        self,
        slug: str,
        report: Send,
        record: Send,
        finish: Callable[[Feed], None],
        silence_s: float = SILENCE_S,
    ) -> None:
        self.slug = slug
        self.desired = messages.Desired(slug, -1, {})
        self.publications: dict[str, Publication] = {}
        self._coming: dict[str, Publication] = {}
        """of sources that another publishes still, until they are connected"""
        self.subscribers: dict[str, Subscriber] = {}
        self.feed: Feed | None = None
        self._report = report
        self._record = record
        self._finish = finish
        self._silence_s = silence_s
        self._levels: dict[str, float] = {}
        """floor sources with sound → -dBov"""
        self._heard: list[str] = []
        """the same, the loudest first"""
        self._expected: dict[str, float] = {}
        """sources that may soon be on stage → until when that holds"""
        self._published: messages.Published | None = None
        self._speaking: messages.Speaking | None = None
        self._downlinks_told = False

    # Desired state.

    def apply(self, desired: messages.Desired) -> None:
        """Take the desired state over, unless a later one is known."""
        if desired.revision < self.desired.revision:
            return
        self.desired = desired
        for session in self.sessions():
            if not self.allowed(session):
                self.close(session, "revoked")
        self.reconcile()

    def grant(self, holder: str) -> messages.Grant:
        """What ``holder`` may do; nothing if unknown."""
        return self.desired.grants.get(holder) or messages.Grant()

    def allowed(self, session: Session) -> bool:
        """Do the grants still cover this session?"""
        grant = self.grant(session.holder)
        if isinstance(session, Publication):
            return session.source in grant.publish
        return grant.receive

    # Sessions.

    def sessions(self) -> list[Session]:
        """All sessions now."""
        return [*self.publications.values(), *self._coming.values(), *self.subscribers.values()]

    @property
    def lively(self) -> bool:
        """Does anybody send or receive?"""
        return bool(self.publications or self.subscribers)

    def find(self, session: str) -> Session | None:
        """A session by its id."""
        return next((s for s in self.sessions() if s.session == session), None)

    def add(self, session: Session) -> None:
        """A new session. A second publication of a source takes over from the first once it is
        connected: one that never is, since its network lets no media through, darkens nobody."""
        session.peer.on_connected = self.reconcile
        session.peer.on_ended = lambda reason: self.close(session, reason)
        if isinstance(session, Publication):
            session.uplink.on_excess = lambda: self.close(session, "excess")
            video = session.video
            if video is not None and len(video.layers) > 1:
                video.on_layers = lambda: self._layers_came(video)
            if session.source in self.publications:
                waiting = self._coming.get(session.source)
                if waiting is not None:
                    self.close(waiting, "taken_over")
                self._coming[session.source] = session
                session.peer.on_connected = lambda: self._take_over(session)
            else:
                self.publications[session.source] = session
        else:
            self.subscribers[session.session] = session
        self.reconcile()

    def _take_over(self, session: Publication) -> None:
        before = self.publications[session.source]
        if before is session:  # the other one ended meanwhile
            self.reconcile()
        else:
            self.close(before, "taken_over")

    def close(self, session: Session, reason: str | None) -> None:
        """End a session; ``reason`` None: web asked for it and hears nothing more."""
        source = None
        if isinstance(session, Publication):
            source = session.source
            if self._coming.get(source) is session:
                del self._coming[source]
            elif self.publications.get(source) is session:
                del self.publications[source]
                if source in self._coming:
                    self.publications[source] = self._coming.pop(source)
            session.peer.close()
        else:
            self.subscribers.pop(session.session, None)
            session.close()
        if reason in FAULTS:
            path = session.peer.binding.path
            log.warning(
                "session ends reason=%s conference=%s holder=%s from=%s",
                *(reason, self.slug, session.holder, host_of(path) if path else "nowhere"),
            )
        if reason is not None:
            closed = messages.Closed(self.slug, session.session, session.holder, source, reason)
            self._report(closed)
        self.reconcile()

    def forget(self, *, moved: bool = False) -> None:
        """The conference is over, or lives on another worker, which feeds its recording."""
        if moved and self.feed is not None:
            self.feed.finish()
            self.feed = None
        self.desired = messages.Desired(self.slug, self.desired.revision, {})
        for session in self.sessions():
            self.close(session, "revoked")
        self.reconcile()

    # What everyone gets.

    def video(self, source: str | None) -> Track | None:
        """The picture of ``source``, if there is one."""
        publication = self.publications.get(source) if source is not None else None
        return publication.video if publication is not None else None

    def audio(self, source: str) -> Track | None:
        """The sound of ``source``, if there is one and it has the floor."""
        publication = self.publications.get(source)
        if publication is None or source not in self.desired.floor:
            return None
        return publication.audio

    def reconcile(self) -> None:
        """Make every output show what it should."""
        now_s = time.monotonic()
        self._rank(now_s)
        for subscriber in self.subscribers.values():
            if not subscriber.peer.connected:
                continue
            wanted = (
                self._slots(subscriber)
                if isinstance(subscriber, Receiver)
                else self._watched(subscriber)
            )
            subscriber.assign(wanted, self.desired.floor, now_s)
        self._reconcile_recording(now_s)

    def choose_layers(self, now_s: float) -> None:
        """Twice a second: rates are measured, and every slot that may be worth another layer gets it."""
        self._warm(now_s)
        for publication in self.publications.values():
            if publication.video is not None:
                publication.video.measure(now_s)
        self._review(set(), now_s)
        if self.feed is not None:
            self.feed.follow(now_s)

    def expect(self, sources: Sequence[str]) -> None:
        """These may soon be on stage; see ``_warm``."""
        now_s = time.monotonic()
        self._expected.update(dict.fromkeys(sources, now_s + EXPECTED_S))
        self._warm(now_s)

    def _warm(self, now_s: float) -> None:
        """Their largest layers are wanted, so that they are there when the stage cuts to them."""
        self._expected = {s: until_s for s, until_s in self._expected.items() if now_s < until_s}
        for source in self._expected:
            track = self.video(source)
            if track is not None:
                track.top(now_s)

    def _layers_came(self, track: Track) -> None:
        """A layer has begun: who waits for it enters it by the keyframe that it begins with. Or it has
        stopped: who received it takes another, of which the keyframe is asked for at once."""
        now_s = time.monotonic()
        for subscriber in self.subscribers.values():
            if subscriber.peer.connected and subscriber.shows(track):
                subscriber.choose(now_s)
        if self.feed is not None:
            self.feed.follow(now_s)
        track.publication.send_requests(now_s)

    def view(self, session: Session, heights_px: dict[str, int]) -> None:
        """A page tells how it shows its slots; what they show it is told anew: it may have been away
        from web when that changed.
        """
        if isinstance(session, Receiver):
            session.changed = True
            session.shown(heights_px)
            if session.peer.connected:
                session.choose(time.monotonic())

    def _rank(self, now_s: float) -> None:
        found = {source: self.audio(source) for source in self.desired.floor}
        tracks = {source: track for source, track in found.items() if track is not None}
        self._levels = {source: track.level(now_s) for source, track in tracks.items()}
        held = {source: track.held_level(now_s) for source, track in tracks.items()}
        self._heard = levels.loudest(held, self._heard[:AUDIO_SLOTS], len(held))

    def _slots(self, receiver: Receiver) -> dict[str, Track | None]:
        desired = self.desired
        wanted = {"stage": self.video(desired.stage)}
        wanted["presentation"] = self.video(desired.presentation)
        for i, source in enumerate(desired.wall):
            wanted[f"wall{i}"] = self.video(source)
        heard = self._voices(receiver)[:AUDIO_SLOTS]
        mids = [f"audio{i}" for i in range(AUDIO_SLOTS) if f"audio{i}" in receiver.outputs]
        present = [receiver.outputs[mid].source for mid in mids]
        for mid, voice in zip(mids, levels.place(present, heard), strict=True):
            wanted[mid] = self.audio(voice) if voice is not None else None
        return wanted

    def _watched(self, watcher: Subscriber) -> dict[str, Track | None]:
        assert isinstance(watcher, Watcher)
        named = {"stage": self.desired.stage, "screen": self.desired.presentation}
        source = named.get(watcher.source, watcher.source)
        voices = {voice: self._levels[voice] for voice in self._voices(watcher)}
        if watcher.source != "stage":
            voices = {source: 0.0} if source in voices else {}
        # A player has one line for sound: on stage the loudest voice, elsewhere its own.
        kept = [o.source for o in watcher.outputs.values() if o.kind == "audio" and o.source]
        loudest = levels.loudest(voices, kept, 1)
        sound = self.audio(loudest[0]) if loudest else None
        tracks = {"video": self.video(source), "audio": sound}
        return {mid: tracks[output.kind] for mid, output in watcher.outputs.items()}

    def _voices(self, subscriber: Subscriber) -> list[str]:
        """Floor sources with sound, the loudest first, without the subscriber's own room."""
        own = self.grant(subscriber.holder).own
        return [s for s in self._heard if own is None or not _same_room(s, own)]

    # Recording.

    def _reconcile_recording(self, now_s: float) -> None:
        recording = self.desired.recording
        if self.feed is not None and self.feed.recording != recording:
            if recording is None or recording.id != self.feed.recording.id:
                self._finish(self.feed)
                self.feed = None
            else:
                self.feed.recording = recording
                self.feed.announce()
        if recording is None:
            return
        if self.feed is None:
            self.feed = Feed(recording, self._record)
        stage, presentation = self.desired.stage, self.desired.presentation
        self.feed.show("stage", stage)
        self.feed.show("presentation", presentation)
        floor = [track for s in self.desired.floor if (track := self.audio(s)) is not None]
        self.feed.take(self.video(stage), self.video(presentation), floor, now_s)

    # Time.

    @property
    def calm(self) -> bool:
        """Does nobody wait for anything?"""
        return all(each.calm for each in self.subscribers.values()) and not any(
            each.asks for each in self.publications.values()
        )

    def tick(self, now_s: float) -> None:
        """Every 100 ms (200 where all are calm), and with what web says: keyframes, and what is recorded."""
        asking = [each for each in self.publications.values() if each.asks]
        self._each(asking, lambda each: each.send_requests(now_s))
        if self.feed is not None:
            self.feed.tick(now_s)

    def follow_lines(self, now_s: float) -> None:
        """As often: what receivers' lines carry, and which layers publishers' do no more."""
        self._each(self.subscribers.values(), lambda each: each.tick(now_s))
        pictures = [p.video for p in self.publications.values() if p.video is not None]
        turned = {track for track in pictures if track.turned(now_s)}
        if turned:
            self._review(turned, now_s)
            for track in turned:
                track.publication.send_requests(now_s)

    def _review(self, turned: Set[Track], now_s: float) -> None:
        for subscriber in self.subscribers.values():
            if subscriber.peer.connected:
                subscriber.review(turned, now_s)

    def _each(self, sessions: Iterable[S], work: Callable[[S], None]) -> None:
        """Do it for each; where one finds a fault of ours, that one ends and the others go on."""
        for session in tuple(sessions):
            try:
                work(session)
            except Exception:
                log.exception("session fails conference=%s holder=%s", self.slug, session.holder)
                self.close(session, "failed")

    def send_feedback(self) -> None:
        """Every 100 ms."""
        self._each(self.publications.values(), lambda each: each.send_feedback())

    def listen(self, now_s: float) -> None:
        """Every 200 ms: who is loudest where not all who hold the floor are heard, and who of those
        that are heard speaks."""
        watched = any(isinstance(each, Watcher) for each in self.subscribers.values())
        if len(self.desired.floor) > (1 if watched else AUDIO_SLOTS):
            self.reconcile()
        speaking = []
        for source in self.desired.floor:
            track = self.audio(source) if source in self._heard[:AUDIO_SLOTS] else None
            if track is not None and track.loudness.speaks(now_s):
                speaking.append(source)
        message = messages.Speaking(self.slug, tuple(speaking))
        if message != self._speaking and (speaking or self._speaking is not None):
            self._speaking = message
            self._report(message)

    def send_reports(self, now_s: float) -> None:
        """Every second: reports to publishers; and sessions that fell silent end."""
        self._each(self.publications.values(), Publication.send_reports)
        for session in self.sessions():
            if not session.peer.connected:
                if now_s - session.created_at_s > CONNECT_S:
                    self.close(session, "failed")
            elif now_s - session.peer.binding.heard_at_s > self._silence_s:
                self.close(session, "silent")

    def send_lines(self, elapsed_s: float) -> None:
        """Every two seconds: the quality of uplinks and downlinks."""
        lines = {source: p.line(elapsed_s) for source, p in self.publications.items()}
        if lines:
            self._report(messages.Lines(self.slug, lines))
        now_s = time.monotonic()
        there = [each for each in self.subscribers.values() if each.peer.connected]
        found = {each.session: each.describe(now_s) for each in there}
        if found or self._downlinks_told:
            self._report(messages.Downlinks(self.slug, found))
        self._downlinks_told = bool(found)

    def introduce(self, now_s: float, report: Send) -> None:
        """Everything that web is told of changes, to one that has just come."""
        report(self._describe(now_s))
        self._send_layers(now_s, report, everything=True)
        for subscriber in self.subscribers.values():
            if isinstance(subscriber, Receiver) and subscriber.peer.connected:
                report(self._slots_of(subscriber))
        if self._speaking is not None:
            report(self._speaking)

    def send_changes(self, now_s: float) -> None:
        """Every 100 ms: what other slots show, and which layers are wanted."""
        self._send_layers(now_s, self._report)
        for each in self.subscribers.values():
            if each.changed and isinstance(each, Receiver) and each.peer.connected:
                each.changed = False
                self._report(self._slots_of(each))

    def send_published(self, now_s: float) -> None:
        """Every 200 ms: who publishes, where that is another or does otherwise."""
        published = self._describe(now_s)
        if published != (self._published or messages.Published(self.slug, ())):
            self._published = published
            self._report(published)

    def _describe(self, now_s: float) -> messages.Published:
        found = tuple(p.describe(now_s) for p in self.publications.values())
        return messages.Published(self.slug, found)

    def _slots_of(self, receiver: Receiver) -> messages.Slots:
        return messages.Slots(self.slug, receiver.session, receiver.holder, receiver.slots)

    def _send_layers(self, now_s: float, report: Send, *, everything: bool = False) -> None:
        for publication in self.publications.values():
            video = publication.video
            if video is None or len(video.layers) < 2:
                continue
            rids = video.wanted_rids(now_s)
            if everything or publication.shall_tell(rids, now_s):
                layers = (publication.session, publication.holder, rids)
                report(messages.Layers(self.slug, *layers))


def _same_room(source: str, own: str) -> bool:
    """Is ``source`` of the room whose source is ``own`` (its camera or its screen)?"""
    return source == own or source.startswith(own + ":")
