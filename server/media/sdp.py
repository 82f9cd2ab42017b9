"""Session descriptions, the part that WebRTC uses (RFC 8866, 8829, 8839, 8842, 8853). Pure.

aiortc's parser is not used: it knows neither RIDs nor simulcast, and asserts on input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from server.media.faults import Fault, InvalidDescription

MAX_BYTES = 200_000
MAX_SECTIONS = 200
MAX_LINES = 10_000
"""sixty slots answered by a browser are 2,000: what is read of one has a bound in time as well"""


@dataclass(slots=True)
class Codec:
    """One payload type of a media section."""

    payload_type: int
    name: str
    """as in rtpmap: ``H264``, ``VP8``, ``opus``, ``rtx`` …"""
    clock_rate_hz: int
    channels: int = 1
    format: dict[str, str] = field(default_factory=dict)
    feedback: list[str] = field(default_factory=list)
    """``nack``, ``nack pli``, ``transport-cc`` …"""


@dataclass(slots=True)
class Section:
    """One media section (m-line)."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    mid: str
    direction: str = "sendrecv"
    codecs: dict[int, Codec] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    """URI → id"""
    ssrcs: list[int] = field(default_factory=list)
    """of media, retransmission streams left out"""
    repairs: dict[int, int] = field(default_factory=dict)
    """SSRC of media → SSRC of its retransmissions (``ssrc-group:FID``, RFC 5576)"""
    rtx: dict[int, int] = field(default_factory=dict)
    """payload type → that of its retransmissions (RFC 4588, 8); these are not in ``codecs``"""
    rids: list[str] = field(default_factory=list)
    """of the simulcast layers that are sent, in the order of ``a=simulcast`` (RFC 8853)"""
    ufrag: str = ""
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    setup: str = ""
    mux: bool = False
    """RTCP on the path of RTP (RFC 5761)"""
    bundle_only: bool = False
    """port 0 stands for the bundle's transport (RFC 9143, 6), as Firefox offers its second section"""

    @property
    def rejected(self) -> bool:
        """Is it refused?"""
        return self.port == 0 and not self.bundle_only

    @property
    def title(self) -> str:
        """By which people find it."""
        return f"m={self.kind} (a=mid:{self.mid})"


@dataclass(slots=True)
class Description:
    """What was parsed."""

    sections: list[Section]
    bundle: list[str]
    name: str = ""
    """of the session (``s=``): many encoders tell by it who they are"""


_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_SHARED = frozenset({*_DIRECTIONS, "extmap", "fingerprint", "ice-ufrag", "setup"})
"""attributes that may stand at session level for every section (RFC 8866, 6.7; 8285, 5; 8839, 5.4; 8842)"""
_RID = re.compile(r"[A-Za-z0-9_-]{1,16}\Z")
_TOKEN = re.compile(r"[!-~]{1,64}\Z")
_PAYLOAD_TYPE = re.compile(r"[0-9]{1,3}\Z")
_Take = Callable[[Section, str, str], None]


def parse(text: str) -> Description:
    """The description in ``text``.

    Raises: InvalidDescription.
    """
    lines = text[: MAX_BYTES + 1].splitlines()
    sizes = {"bytes": (len(text), MAX_BYTES), "lines": (len(lines), MAX_LINES)}
    sizes["m="] = sum(line.startswith("m=") for line in lines), MAX_SECTIONS
    for unit, (size, most) in sizes.items():
        if size > most:
            raise InvalidDescription(Fault.SDP_SIZE, f"{unit}: {size} > {most}")
    common: list[str] = []
    groups: list[list[str]] = []
    for line in lines:
        if line.startswith("m="):
            groups.append([line])
        else:
            (groups[-1] if groups else common).append(line)
    if not common or not common[0].startswith("v=0") or not groups:
        raise InvalidDescription(Fault.SDP_HEAD)
    bundle: list[str] = []
    name = ""
    for line in common:
        if line.startswith("s="):
            name = line[2:].strip()
        if line.startswith("a=group:BUNDLE"):
            bundle = line.split()[1:]
    shared = _shared(common)
    sections: dict[str, Section] = {}
    for index, group in enumerate(groups):
        section = _section(shared, group, index)
        if section.mid in sections:
            raise InvalidDescription(Fault.MID, section.title)
        sections[section.mid] = section
    return Description(list(sections.values()), bundle, name)


def _attributes(lines: Sequence[str]) -> list[tuple[str, str]]:
    """(name, value) of each ``a=`` line."""
    parts = (line[2:].partition(":") for line in lines if line.startswith("a="))
    return [(name, value) for name, _, value in parts]


def _take(section: Section, attributes: Iterable[tuple[str, str]], take: _Take) -> None:
    """Take them in. Raises: InvalidDescription, which names the first that makes no sense."""
    for name, value in attributes:
        try:
            take(section, name, value)
        except (ValueError, IndexError) as error:
            raise InvalidDescription(Fault.SDP_LINE, f"a={name}:{value}") from error


def _shared(common: Sequence[str]) -> Section:
    """What the session level says for each section; read once, however many there are."""
    shared = Section("", 0, "", [], "")
    _take(
        shared,
        ((name, value) for name, value in _attributes(common) if name in _SHARED),
        _attribute,
    )
    return shared


def _section(shared: Section, lines: Sequence[str], index: int) -> Section:
    try:
        kind, port, protocol, *formats = lines[0][2:].split()
        number = int(port.partition("/")[0])
    except ValueError as error:
        raise InvalidDescription(Fault.SDP_LINE, lines[0]) from error
    section = Section(
        *(kind, number, protocol, formats, str(index)),
        direction=shared.direction,
        extensions=dict(shared.extensions),
        ufrag=shared.ufrag,
        fingerprints=list(shared.fingerprints),
        setup=shared.setup,
    )
    attributes = _attributes(lines[1:])
    if kind in ("audio", "video"):
        _take(section, (each for each in attributes if each[0] == "rtpmap"), _rtpmap)
        offered = frozenset(formats)
        section.codecs = {n: codec for n, codec in section.codecs.items() if str(n) in offered}
    own_fingerprints = any(name == "fingerprint" for name, _ in attributes)
    if own_fingerprints:
        section.fingerprints.clear()
    _take(section, attributes, _attribute)
    repairing = set(section.repairs.values())
    section.ssrcs = [ssrc for ssrc in dict.fromkeys(section.ssrcs) if ssrc not in repairing]
    for codec in [c for c in section.codecs.values() if c.name.lower() == "rtx"]:
        del section.codecs[codec.payload_type]
        if _PAYLOAD_TYPE.match(codec.format.get("apt", "")):
            section.rtx[int(codec.format["apt"])] = codec.payload_type
    if not _TOKEN.match(section.mid):
        raise InvalidDescription(Fault.MID, section.title)
    return section


def _rtpmap(section: Section, _: str, value: str) -> None:
    number, description = value.split(maxsplit=1)
    name, clock, *channels = description.split("/")
    if not 0 <= int(number) <= 127:
        raise ValueError("not a payload type")
    codec = Codec(int(number), name, int(clock), int(channels[0]) if channels else 1)
    section.codecs[codec.payload_type] = codec


def _attribute(section: Section, name: str, value: str) -> None:
    if name in _DIRECTIONS:
        section.direction = name
    elif name == "mid":
        section.mid = value.strip()
    elif name == "bundle-only":
        section.bundle_only = True
    elif name == "rtcp-mux":
        section.mux = True
    elif name == "setup":
        section.setup = value.strip()
    elif name == "ice-ufrag":
        section.ufrag = value.strip()
    elif name == "fingerprint":
        algorithm, fingerprint = value.split()
        section.fingerprints.append((algorithm.lower(), fingerprint.upper()))
    elif name == "extmap":
        number, uri = value.split()[:2]
        section.extensions[uri] = int(number.partition("/")[0])
    elif name == "ssrc":
        section.ssrcs.append(_ssrc(value.split()[0]))
    elif name == "ssrc-group" and value.startswith("FID"):
        media, *repairing = (_ssrc(ssrc) for ssrc in value.split()[1:])
        section.repairs.update((media, ssrc) for ssrc in repairing[:1])
    elif name == "simulcast":
        section.rids = _sent_rids(value)
    elif name == "fmtp":
        number, _, parameters = value.partition(" ")
        codec = section.codecs.get(int(number))
        if codec is not None:
            codec.format = parse_format(parameters)
    elif name == "rtcp-fb":
        number, _, feedback = value.partition(" ")
        every = number == "*"
        meant = section.codecs.values() if every else [section.codecs.get(int(number))]
        for codec in meant:
            if codec is not None:
                codec.feedback.append(feedback.strip())


def _ssrc(text: str) -> int:
    """32 bits (RFC 5576, 4.1): what we write of it into RTCP has no room for more."""
    ssrc = int(text)
    if not 0 <= ssrc <= 0xFFFFFFFF:
        raise ValueError("not an SSRC")
    return ssrc


def _sent_rids(value: str) -> list[str]:
    """The RIDs of ``send q;h,alternative;~paused`` (RFC 8853, 5.1): the first of alternatives."""
    words = value.split()
    directions = dict(zip(words[::2], words[1::2], strict=False))
    streams = directions.get("send", "").split(";")
    rids = [stream.split(",")[0].lstrip("~") for stream in streams]
    return [rid for rid in dict.fromkeys(rids) if _RID.match(rid)]


def parse_format(text: str) -> dict[str, str]:
    """The parameters of an ``a=fmtp`` line, keys in lower case."""
    pairs = (part.strip().partition("=") for part in text.split(";") if part.strip())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def write_format(parameters: dict[str, str]) -> str:
    """The reverse of ``parse_format``."""
    return ";".join(f"{key}={value}" if value else key for key, value in parameters.items())


@dataclass(frozen=True, slots=True)
class Transport:
    """Our side of the one transport that every section is bundled on."""

    ufrag: str
    password: str
    fingerprint: str
    setup: str
    addresses: tuple[tuple[str, int], ...]


def write_head(session: int, version: int, bundle: Sequence[str]) -> list[str]:
    """The session level of our descriptions."""
    lines = [
        "v=0",
        f"o=- {session} {version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS *",
    ]
    if bundle:
        lines.insert(5, "a=group:BUNDLE " + " ".join(bundle))
    return lines


def write_transport(transport: Transport, *, candidates: bool) -> list[str]:
    """ICE and DTLS of one section. Every section of an offer has them; the first has candidates."""
    lines = [
        "a=rtcp-mux",
        "a=rtcp-rsize",
        f"a=ice-ufrag:{transport.ufrag}",
        f"a=ice-pwd:{transport.password}",
        f"a=fingerprint:{transport.fingerprint}",
        f"a=setup:{transport.setup}",
    ]
    if candidates:
        lines += _write_candidates(transport.addresses)
        lines.append("a=end-of-candidates")
    return lines


def _write_candidates(addresses: Sequence[tuple[str, int]]) -> Iterator[str]:
    """UDP first, then TCP on the same numbers for networks that drop UDP (RFC 6544, 4.5)."""
    for i, (host, port) in enumerate(addresses):
        priority = (126 << 24) | ((65535 - i) << 8) | 255  # RFC 8445, 5.1.2.1: host
        yield f"a=candidate:{i + 1} 1 udp {priority} {host} {port} typ host"
    for i, (host, port) in enumerate(addresses, len(addresses)):
        # RFC 6544, 4.2: direction preference 4 is passive; a lower type preference than UDP's.
        priority = (90 << 24) | (4 << 13 | (8191 - i)) << 8 | 255
        yield f"a=candidate:{i + 1} 1 tcp {priority} {host} {port} typ host tcptype passive"


def write_codec(codec: Codec) -> list[str]:
    """rtpmap, fmtp and rtcp-fb of one payload type."""
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    number = codec.payload_type
    lines = [f"a=rtpmap:{number} {codec.name}/{codec.clock_rate_hz}{channels}"]
    if codec.format:
        lines.append(f"a=fmtp:{number} {write_format(codec.format)}")
    return lines + [f"a=rtcp-fb:{number} {feedback}" for feedback in codec.feedback]
