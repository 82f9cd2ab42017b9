"""Offers answered and slots offered: what this server can carry, as session descriptions. Pure.

One code for browsers, WHIP encoders and WHEP players (RFC 9725, RFC 8829). H.264 constrained
baseline and Opus are preferred; VP8 is carried as it is where a publisher has nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple

from server.media import rtp, sdp
from server.media.faults import Fault, InvalidDescription

VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb", "transport-cc")
H264_FORMAT = {
    "level-asymmetry-allowed": "1",
    "packetization-mode": "1",
    "profile-level-id": "42e01f",
}
SLOT_VIDEO = (
    sdp.Codec(102, "H264", 90000, 1, H264_FORMAT, ["nack", "nack pli", "ccm fir", "transport-cc"]),
    sdp.Codec(96, "VP8", 90000, 1, {}, ["nack", "nack pli", "ccm fir", "transport-cc"]),
)
SLOT_AUDIO = (
    sdp.Codec(111, "opus", 48000, 2, {"minptime": "10", "useinbandfec": "1"}, ["transport-cc"]),
)
SLOT_EXTENSIONS = {rtp.MID_URI: 1, rtp.TRANSPORT_CC_URI: 2}
SLOT_RTX = {102: 103, 96: 97}
UPLINK_EXTENSIONS = (
    rtp.MID_URI,
    rtp.RID_URI,
    rtp.REPAIRED_RID_URI,
    rtp.AUDIO_LEVEL_URI,
    rtp.TRANSPORT_CC_URI,
    rtp.LAYERS_URI,
)
_NAMES = {"h264": ("H264", 90000), "vp8": ("VP8", 90000), "opus": ("opus", 48000)}
"""our name and the only clock rate of each (RFC 6184, 8.2.1; RFC 7741, 6.1; RFC 7587, 4.1)"""
LIKE_RTCP = range(64, 96)
"""payload types that with a marker look like RTCP's packets on the same path (RFC 5761, 4)"""
MAX_LAYERS = 4
AUDIO_SLOTS = 3
_DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""of the fingerprints that aiortc compares; with none of them every handshake would fail"""


class Sources(NamedTuple):
    """The SSRCs of one stream that we send."""

    media: int
    rtx: int
    """of its retransmissions, where they are agreed on"""


@dataclass(slots=True)
class Line:
    """One media section that is agreed on."""

    mid: str
    kind: str
    codecs: list[sdp.Codec]
    """to be used, preferred first; at least one"""
    extensions: dict[str, int]
    ssrcs: list[int] = field(default_factory=list)
    repairs: dict[int, int] = field(default_factory=dict)
    """SSRC of media → SSRC of its retransmissions"""
    rtx: dict[int, int] = field(default_factory=dict)
    """payload type → that of its retransmissions"""
    rids: list[str] = field(default_factory=list)
    """of the layers, as offered; empty without simulcast"""


@dataclass(slots=True)
class Remote:
    """The remote side of the transport."""

    fingerprints: list[tuple[str, str]]
    client: bool
    """do we open the DTLS handshake?"""


def normal_name(codec: sdp.Codec) -> str | None:
    """``H264``, ``VP8`` or ``opus`` for what can be carried, None for anything else."""
    name, clock_rate_hz = _NAMES.get(codec.name.lower(), (None, 0))
    return name if codec.clock_rate_hz == clock_rate_hz else None


def _fragments(codec: sdp.Codec) -> bool:
    """May a picture be larger than a packet? Else (RFC 6184, 6.2) only a publisher's is of use: what
    we send is as others packed it."""
    return normal_name(codec) != "H264" or codec.format.get("packetization-mode") == "1"


def _preference(codec: sdp.Codec) -> tuple[bool, bool, int]:
    """H.264 before VP8, in fragments before whole slices, baseline before the rest."""
    profile = codec.format.get("profile-level-id", "").lower()
    rank = 0 if profile.startswith("42e0") else 1 if profile.startswith("42") else 2
    return normal_name(codec) != "H264", not _fragments(codec), rank


def remote(description: sdp.Description, *, offer: bool, publishing: bool = True) -> Remote:
    """The DTLS side of a description (RFC 8842, 5).

    To a publisher's ``actpass`` we answer ``active``: it saves a round trip. To a player's,
    ``passive``: the DTLS server chooses the SRTP profile, and ours prefers the cheaper GCM where
    browsers prefer AES-CM.

    Raises: InvalidDescription, also where no connection could come of it.
    """
    needed = {
        Fault.ICE_UFRAG: attrgetter("ufrag"),
        Fault.FINGERPRINT: attrgetter("fingerprints"),
        Fault.SETUP: attrgetter("setup"),
    }
    lacks = [[f for f, of in needed.items() if not of(s)] for s in description.sections]
    lacking, first = min(
        zip(lacks, description.sections, strict=True), key=lambda each: len(each[0])
    )
    if lacking:
        raise InvalidDescription(lacking[0], "–")
    roles = {"passive": True, "active": False}
    if offer:
        roles["actpass"] = publishing
    if first.setup not in roles:
        raise InvalidDescription(Fault.SETUP, first.setup)
    if not any(_comparable(*fingerprint) for fingerprint in first.fingerprints):
        raise InvalidDescription(Fault.FINGERPRINT, " ".join(first.fingerprints[0]))
    return Remote(list(first.fingerprints), roles[first.setup])


def _comparable(algorithm: str, value: str) -> bool:
    size = _DIGEST_BYTES.get(algorithm, 0)
    return (
        bool(size)
        and re.fullmatch(rf"[0-9A-F]{{2}}(:[0-9A-F]{{2}}){{{size - 1}}}", value) is not None
    )


def _choose(section: sdp.Section, *, publishing: bool = False) -> list[sdp.Codec]:
    """The codecs of a section that can be carried, preferred first.

    Raises: InvalidDescription where each has a payload type that cannot be told from RTCP.
    """
    codecs = [c for c in section.codecs.values() if normal_name(c) is not None]
    if publishing:
        usable = [c for c in codecs if c.format.get("packetization-mode", "0") in ("0", "1")]
    else:
        usable = [c for c in codecs if _fragments(c)]
    told_apart = [c for c in usable if c.payload_type not in LIKE_RTCP]
    if usable and not told_apart:
        first = usable[0]
        about = f"a=rtpmap:{first.payload_type} {first.name}/{first.clock_rate_hz}"
        raise InvalidDescription(Fault.PAYLOAD_TYPE, about)
    return sorted(told_apart, key=_preference)


def accept_offer(description: sdp.Description, *, publishing: bool) -> list[Line | None]:
    """What becomes of each section of an offer: a line, or None to reject it.

    The first picture and the first sound are accepted. A publisher gets one codec, and its
    simulcast layers; a player keeps all codecs in common.

    Raises: InvalidDescription where nothing goes the way that is meant, or not over one path (RFC 9725, 4.4),
    or there is no codec in common, be it for one kind only: a room without its picture, or without its
    sound, would notice too late.
    """
    wrong = ("recvonly", "inactive") if publishing else ("sendonly", "inactive")
    taken: set[str] = set()
    refused: dict[str, sdp.Section] = {}
    """of each kind, for its codecs"""
    lines: list[Line | None] = []
    for section in description.sections:
        fits = section.direction not in wrong and not section.rejected
        if section.kind not in ("audio", "video") or not fits:
            lines.append(None)
            continue
        codecs = _choose(section, publishing=publishing)
        if not codecs or section.kind in taken:
            refused.setdefault(section.kind, section)
            lines.append(None)
            continue
        taken.add(section.kind)
        codecs = codecs[:1] if publishing else _one_each(codecs)
        known = UPLINK_EXTENSIONS if publishing else tuple(SLOT_EXTENSIONS)
        lines.append(
            Line(
                section.mid,
                section.kind,
                codecs,
                {uri: n for uri, n in section.extensions.items() if uri in known and 0 < n < 15},
                section.ssrcs,
                section.repairs,
                _rtx(section, codecs),
                (
                    section.rids[:MAX_LAYERS]
                    if publishing and rtp.RID_URI in section.extensions
                    else []
                ),
            )
        )
    for kind, fault in (("video", Fault.VIDEO_CODEC), ("audio", Fault.AUDIO_CODEC)):
        if kind in refused and kind not in taken:
            raise InvalidDescription(fault, _codecs(refused[kind]))
    used = [s for s, line in zip(description.sections, lines, strict=True) if line is not None]
    if not used:
        ways = (f"m={s.kind} a={s.direction}" for s in description.sections)
        raise InvalidDescription(Fault.DIRECTION, ", ".join(ways))
    for section in used:
        if len(used) > 1 and section.mid not in description.bundle:
            raise InvalidDescription(Fault.BUNDLE, section.title)
        if not section.mux:
            raise InvalidDescription(Fault.RTCP_MUX, section.title)
    return lines


def _codecs(section: sdp.Section) -> str:
    """What a section offers, as people write it."""
    found: dict[str, None] = {}
    for codec in section.codecs.values():
        mode = codec.format.get("packetization-mode")
        name = f"{codec.name}/{codec.clock_rate_hz}"
        found[name if mode is None else f"{name} packetization-mode={mode}"] = None
    return ", ".join(found) or " ".join([f"m={section.kind}", *section.formats])


def _one_each(codecs: Sequence[sdp.Codec]) -> list[sdp.Codec]:
    """The preferred payload type of each codec."""
    chosen: dict[str, sdp.Codec] = {}
    for codec in codecs:
        chosen.setdefault(normal_name(codec) or "", codec)
    return list(chosen.values())


def _rtx(section: sdp.Section, codecs: Sequence[sdp.Codec]) -> dict[int, int]:
    """The retransmission payload types of these codecs."""
    return {
        c.payload_type: section.rtx[c.payload_type] for c in codecs if c.payload_type in section.rtx
    }


def write_answer(
    description: sdp.Description,
    lines: Sequence[Line | None],
    transport: sdp.Transport,
    ssrcs: dict[str, Sources] | None = None,
    *,
    session: int,
    version: int = 1,
) -> str:
    """The answer to an offer; ``ssrcs`` (by mid) are ours where we send."""
    accepted = [line.mid for line in lines if line is not None]
    bundle = accepted if description.bundle else []
    out = sdp.write_head(session, version, bundle)
    for section, line in zip(description.sections, lines, strict=True):
        if line is None:
            out.append(f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}")
            out += ["c=IN IP4 0.0.0.0", f"a=mid:{section.mid}", "a=inactive"]
            continue
        direction = "recvonly" if ssrcs is None else "sendonly"
        out += _media(line, section.protocol, direction)
        if ssrcs is not None:
            out += _sources(line, ssrcs[line.mid])
        out += sdp.write_transport(transport, candidates=True)
    return "\r\n".join(out) + "\r\n"


def slot_lines(wall: int, audio: bool) -> list[Line]:
    """The fixed slots of a receiving page: stage, presentation, wall tiles, then sound."""
    mids = ["stage", "presentation"] + [f"wall{i}" for i in range(wall)]
    lines = [
        Line(mid, "video", list(SLOT_VIDEO), dict(SLOT_EXTENSIONS), rtx=dict(SLOT_RTX))
        for mid in mids
    ]
    if audio:
        for i in range(AUDIO_SLOTS):
            lines.append(Line(f"audio{i}", "audio", list(SLOT_AUDIO), dict(SLOT_EXTENSIONS)))
    return lines


def write_offer(
    lines: Sequence[Line],
    transport: sdp.Transport,
    ssrcs: dict[str, Sources],
    *,
    session: int,
    version: int,
) -> str:
    """Our offer of slots. Chromium rejects sections without transport from the third on."""
    out = sdp.write_head(session, version, [line.mid for line in lines])
    for index, line in enumerate(lines):
        out += _media(line, "UDP/TLS/RTP/SAVPF", "sendonly")
        out += _sources(line, ssrcs[line.mid])
        out += sdp.write_transport(transport, candidates=index == 0)
    return "\r\n".join(out) + "\r\n"


def read_answer(offered: Sequence[Line], description: sdp.Description) -> list[Line | None]:
    """What the page accepted of each offered section.

    Raises: InvalidDescription.
    """
    if len(description.sections) != len(offered):
        raise InvalidDescription(Fault.SECTIONS)
    lines: list[Line | None] = []
    for line, section in zip(offered, description.sections, strict=True):
        if section.kind != line.kind or section.mid != line.mid:
            raise InvalidDescription(Fault.SECTIONS)
        codecs = _one_each(_choose(section))
        if section.rejected or not codecs or section.direction in ("sendonly", "inactive"):
            lines.append(None)
        else:
            extensions = {u: n for u, n in line.extensions.items() if u in section.extensions}
            rtx = _rtx(section, codecs)
            lines.append(Line(line.mid, line.kind, codecs, extensions, rtx=rtx))
    return lines


def _media(line: Line, protocol: str, direction: str) -> list[str]:
    types = [c.payload_type for c in line.codecs] + list(line.rtx.values())
    numbers = " ".join(str(number) for number in types)
    out = [f"m={line.kind} 9 {protocol} {numbers}", "c=IN IP4 0.0.0.0", f"a=mid:{line.mid}"]
    out.append(f"a={direction}")
    out += [f"a=extmap:{number} {uri}" for uri, number in line.extensions.items()]
    for codec in line.codecs:
        feedback = [f for f in codec.feedback if f in VIDEO_FEEDBACK]
        out += sdp.write_codec(replace(codec, feedback=feedback))
        if codec.payload_type in line.rtx:
            parameters = {"apt": str(codec.payload_type)}
            number = line.rtx[codec.payload_type]
            out += sdp.write_codec(sdp.Codec(number, "rtx", codec.clock_rate_hz, format=parameters))
    if line.rids:
        out += [f"a=rid:{rid} recv" for rid in line.rids]
        out.append("a=simulcast:recv " + ";".join(line.rids))
    return out


def _sources(line: Line, ssrcs: Sources) -> list[str]:
    # A stream of its own for each slot, but for the stage and the first voice: lips and sound.
    # Their sender reports are written from one clock, whichever sources they show.
    mid = line.mid
    stream = "stage" if mid == "audio0" else mid
    out = [f"a=msid:{stream} {mid}"]
    announced = [ssrcs.media]
    if line.rtx:
        announced.append(ssrcs.rtx)
        out.append(f"a=ssrc-group:FID {ssrcs.media} {ssrcs.rtx}")
    for ssrc in announced:
        out += [f"a=ssrc:{ssrc} cname:{stream}", f"a=ssrc:{ssrc} msid:{stream} {mid}"]
    return out
