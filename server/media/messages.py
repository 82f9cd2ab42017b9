"""The typed messages between web, a media worker and its recorder.

They travel over a local stream socket as frames: a big-endian ``uint32`` length, then
MessagePack of one tagged struct (see ``encode`` and ``Decoder``). Web tells a worker the
*desired state* of a conference as one document with a revision; sending it again is always
safe, and that is how either side recovers.

A *source* names one publication: ``site:{slug}`` (camera and microphone) or
``site:{slug}:screen`` (a presentation). A *holder* names who holds a peer connection: a seat's
or a token's public id.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

SILENCE_S = 35.0
"""no authentic packet and no valid check for so long: gone (browsers check every 2.5 s, and go on
for some 30 s: a line that comes back within that goes on without a word of signalling)"""


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one holder may do. Absence from ``Desired.grants`` closes all its sessions."""

    publish: tuple[str, ...] = ()
    """sources it may publish"""
    receive: bool = False
    """may it receive at all"""
    own: str | None = None
    """the source of its own room, whose sound is never sent back to it"""
    direct: bool = False
    """does it decide who comes on stage?"""


class Recording(msgspec.Struct, frozen=True):
    """Where the stage of a live conference is recorded."""

    id: str
    folder: str
    """absolute folder of this recording"""
    zero_us: int
    """server wall clock (µs since the epoch) of time zero, the moment of *live*"""
    title: str
    """shown on the card that fills an empty stage"""
    end_us: int | None = None
    """when it ended, on the same clock, where it has"""


class Desired(msgspec.Struct, frozen=True, tag="desired"):
    """The whole wanted state of one conference; a lower ``revision`` than the last is ignored."""

    conference: str
    """the conference's slug"""
    revision: int
    grants: dict[str, Grant]
    stage: str | None = None
    presentation: str | None = None
    floor: tuple[str, ...] = ()
    """sources whose sound is forwarded, at most three at a time of them"""
    wall: tuple[str, ...] = ()
    """sources in the order of the wall; a receiver's wall slot i shows wall[i]"""
    recording: Recording | None = None
    """None: not recording; taking it away ends the recording"""


class Forget(msgspec.Struct, frozen=True, omit_defaults=True, tag="forget"):
    """The conference is not here any more: close its sessions and drop its state."""

    conference: str
    moved: bool = False
    """it lives on another worker now, which feeds its recording; otherwise the recording ends"""


class Publish(msgspec.Struct, frozen=True, tag="publish"):
    """A browser's or encoder's offer to publish one source. Answered by ``Answered``."""

    request: int
    conference: str
    holder: str
    source: str
    sdp: str


class Receive(msgspec.Struct, frozen=True, tag="receive"):
    """A page wants to receive by slots; the worker offers. Answered by ``Answered``, whose sdp is
    the offer; the page's answer follows as ``Accept``.

    ``slots``: stage, presentation, then ``wall`` tiles (mids ``stage``, ``presentation``,
    ``wall0`` …), then three audio slots (``audio0`` … ``audio2``) if ``audio``.
    """

    request: int
    conference: str
    holder: str
    wall: int = 0
    audio: bool = True


class Accept(msgspec.Struct, frozen=True, tag="accept"):
    """The page's answer to an offer of the worker. Answered by ``Answered`` with empty sdp."""

    request: int
    session: str
    holder: str
    sdp: str


class Watch(msgspec.Struct, frozen=True, tag="watch"):
    """WHEP: the player offers; ``source`` is ``stage``, ``screen`` or ``site:{slug}``."""

    request: int
    conference: str
    holder: str
    source: str
    sdp: str


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """ICE restart of a session. For a publish or watch session ``sdp`` is the client's new offer and
    ``Answered.sdp`` the answer; for a receive session ``sdp`` is empty and ``Answered.sdp`` a new offer.
    """

    request: int
    session: str
    holder: str
    sdp: str = ""


class Close(msgspec.Struct, frozen=True, tag="close"):
    """End a session. Answered by ``Answered`` with empty sdp, also when it is gone already."""

    request: int
    session: str
    holder: str


class View(msgspec.Struct, frozen=True, tag="view"):
    """How a receiving page shows its slots. Answered by ``Answered`` with empty sdp."""

    request: int
    session: str
    holder: str
    heights_px: dict[str, int]
    """mid → height in device pixels, 0: not to be seen; the rest is taken as usual"""


class Describe(msgspec.Struct, frozen=True, tag="describe"):
    """The offer that a session was made by. Answered by ``Answered``."""

    request: int
    session: str
    holder: str


class Expect(msgspec.Struct, frozen=True, tag="expect"):
    """These sources may soon be on stage. Answered by ``Answered`` with empty session and sdp."""

    request: int
    conference: str
    holder: str
    sources: tuple[str, ...]


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """What came of a request."""

    request: int
    session: str
    sdp: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """A request that was not done; ``code`` is ``forbidden``, ``not_found``, ``invalid``, ``busy`` or that
    of a fault in its description (``faults``)."""

    request: int
    code: str
    about: str = ""
    """which line or section is meant, where it is a fault"""


class Publication(msgspec.Struct, frozen=True):
    """One source that is being published."""

    source: str
    holder: str
    session: str
    video: str | None
    """``H264`` or ``VP8``, None without a picture"""
    audio: bool
    alive: bool
    """packets, of picture or sound, within the last two seconds"""
    picture: bool
    """packets of the picture within the last two seconds: false while the camera is off"""
    heard: bool
    """packets of sound that are not all digital silence: false while the microphone is off"""


class Published(msgspec.Struct, frozen=True, tag="published"):
    """All publications of a conference now, sent on every change and every reconnect of web."""

    conference: str
    publications: tuple[Publication, ...]


class Slots(msgspec.Struct, frozen=True, tag="slots"):
    """What each slot of one receiving session shows now: mid → source, None for nothing."""

    conference: str
    session: str
    holder: str
    slots: dict[str, str | None]


class Layers(msgspec.Struct, frozen=True, tag="layers"):
    """Which simulcast layers of a publication are to be sent; nobody receives the others."""

    conference: str
    session: str
    holder: str
    rids: tuple[str, ...]


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """A session ended by itself: ``silent``, ``taken_over``, ``revoked``, ``left``, ``failed``,
    ``excess`` (it sent far too much)."""

    conference: str
    session: str
    holder: str
    source: str | None
    reason: str


class Speaking(msgspec.Struct, frozen=True, tag="speaking"):
    """Which floor holders are heard now (by RFC 6464 level, steadied), at most four times a second."""

    conference: str
    sources: tuple[str, ...]


class Line(msgspec.Struct, frozen=True):
    """The uplink of one publication over the last two seconds."""

    bitrate_bps: int
    loss: float
    """0 to 1"""
    width: int | None = None
    height: int | None = None
    excess: bool = False
    """more came than one may send: what was beyond it is lost, and soon the session ends"""


class Lines(msgspec.Struct, frozen=True, tag="lines"):
    """Line quality of a conference's publications, every two seconds."""

    conference: str
    lines: dict[str, Line]


class Slot(msgspec.Struct, frozen=True):
    """What the picture of one slot of a receiver gets of its line, and why."""

    height_px: int
    """of the layer that flows, 0 while none does"""
    worth_px: int
    """of the layer that the size shown is worth, 0: nobody sees it"""
    bitrate_bps: int
    """of the line's budget that is meant for it, 0 for none"""
    reason: str
    """why it is no better: ``size``, ``line``, or ``publisher`` (does not send it, yet)"""


class Downlink(msgspec.Struct, frozen=True):
    """One receiver's line over the last two seconds; None where it tells nothing."""

    holder: str
    sent_bps: int
    carries_bps: int | None
    """as estimated"""
    budget_bps: int | None
    """what may be sent: the estimate, or very little while the line is silent"""
    rtt_ms: int | None
    loss: float | None
    """0 to 1"""
    reason: str
    """silence while no report comes; else of the estimate's last change: start, growth, probe,
    delay, loss, remb; or unknown"""
    reduced: bool
    """has it made a picture smaller, for some seconds now?"""
    narrow: bool
    """do pictures wait for their turn on it?"""
    slots: dict[str, Slot]


class Downlinks(msgspec.Struct, frozen=True, tag="downlinks"):
    """The lines of a conference's receivers, by session, every two seconds."""

    conference: str
    downlinks: dict[str, Downlink]


class Load(msgspec.Struct, frozen=True, tag="load"):
    """What a worker has to do, every two seconds: the sign that it lives, and where to place."""

    cpu: float
    """share of a core, over the last two seconds"""
    packets_received: int
    """of publishers, since the worker's beginning"""
    packets_sent: int
    """to receivers, since the worker's beginning"""


class Recorded(msgspec.Struct, frozen=True, tag="recorded"):
    """How a recording stands, from the recorder (through the worker), once a second and at its end."""

    recording: str
    state: str
    """``recording``, ``ended`` or ``failed`` (the disk refuses; the recorder goes on trying)"""
    duration_ms: int
    """what is safely on disk, from time zero"""


ToWorker = (
    Desired
    | Forget
    | Publish
    | Receive
    | Accept
    | Watch
    | Restart
    | Describe
    | Close
    | View
    | Expect
)
FromWorker = (
    Answered
    | Refused
    | Published
    | Slots
    | Layers
    | Closed
    | Speaking
    | Lines
    | Downlinks
    | Load
    | Recorded
)


# Worker → recorder. Media is plain RTP, without header extensions that the recorder does not need.


class Record(msgspec.Struct, frozen=True, tag="record"):
    """Begin or go on with a recording; safe to send again (after either side's restart)."""

    recording: Recording
    until_us: int = 0
    """media that arrived until then follows at once, so that one who begins anew waits for it"""


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """End a recording at ``at_us`` (server wall clock): write the end and report ``ended``."""

    recording: str
    at_us: int


class Show(msgspec.Struct, frozen=True, tag="show"):
    """From ``at_us`` on the track ``track`` (``stage`` or ``presentation``) shows ``source``, or nothing."""

    recording: str
    track: str
    source: str | None
    at_us: int


class Media(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """RTP packets of one source that came at once, in order of arrival and just as they came: how
    they are numbered anew is told with them, so that the worker need not touch them."""

    source: str
    codec: str
    """of the picture ``H264`` or ``VP8``, which the recorder transcodes; else ``opus``, which is sent
    only while on the floor"""
    at_us: int
    """server wall clock of arrival"""
    packets: tuple[bytes, ...]
    sequence_shift: int = 0
    """to be added, modulo 2¹⁶"""
    timestamp_shift: int = 0
    """to be added, modulo 2³²"""
    ssrc: int = 0
    """in place of their own, 0: none"""


class Packets(msgspec.Struct, frozen=True, tag="packets"):
    """What has arrived for a recording since the last, in order of arrival: each waking costs the
    recorder as much as many packets do."""

    recording: str
    until_us: int
    """all that arrived until then is told; server wall clock"""
    media: tuple[Media, ...]


ToRecorder = Record | Finish | Show | Packets


class Keyframe(msgspec.Struct, frozen=True, tag="keyframe"):
    """Recorder → worker: a keyframe of ``source`` is needed."""

    source: str
    recording: str


FromRecorder = Recorded | Keyframe

_encoder = msgspec.msgpack.Encoder()
_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 4 << 20


def encode(message: msgspec.Struct) -> bytes:
    """One frame, ready for the socket."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Cuts a byte stream into messages of ``kinds`` (a union of the tagged structs above)."""

    def __init__(self, kinds: object) -> None:
        self._decoder = msgspec.msgpack.Decoder(kinds)
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[msgspec.Struct]:
        """Yield the messages that ``data`` completes.

        Raises: ValueError on an oversized frame; msgspec.ValidationError on a wrong one.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_FRAME_BYTES:
                raise ValueError("frame too long")
            end = start + 4 + length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view, view[start + 4 : end] as body:
                message = self._decoder.decode(body)
            yield message
            start = end
        del buffer[:start]
