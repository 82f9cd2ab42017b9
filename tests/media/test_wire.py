"""Formats: right where a standard or another implementation says what is right, and unbreakable."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aioice.stun
import aiortc.rtp
import pytest
from aiortc.rtcdtlstransport import RTCDtlsTransport
from hypothesis import given, settings
from hypothesis import strategies as st

from server.media import messages, negotiation, peer, rtcp, rtp, sdp, stun
from server.media.faults import MAX_ABOUT, Fault, InvalidDescription
from server.media.feedback import Feedback
from tests.media.raw import OFFER

PACKETS = Path(__file__).parent.parent / "packets"
ADDRESSES = (("192.0.2.1", 32853), ("2001:db8:1234:5678:11:2233:4455:6677", 32853))


@contextmanager
def refused(fault: Fault, about: str) -> Iterator[None]:
    """A description is, and why."""
    with pytest.raises(InvalidDescription) as raised:
        yield
    assert raised.value.fault is fault and about in raised.value.about


@pytest.mark.parametrize("address", ADDRESSES)
def test_stun_is_understood_by_another_implementation(address: tuple[str, int]) -> None:
    transaction = bytes(range(12))
    reply = stun.success(transaction, address, "secret")
    message = aioice.stun.parse_message(reply)
    assert message.check_message_integrity(b"secret")
    assert message.attributes["XOR-MAPPED-ADDRESS"] == address
    refusal = aioice.stun.parse_message(stun.error(transaction, 487, "Role Conflict", "secret"))
    assert refusal.attributes["ERROR-CODE"] == (487, "Role Conflict")


def test_stun_checks_of_another_implementation_are_understood() -> None:
    message = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
    message.attributes["USERNAME"] = "ours:theirs"
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 5
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(b"secret")
    data = bytes(message)
    check = stun.parse_check(data)
    assert check is not None and check.local_ufrag == "ours" and check.use_candidate
    assert check.verify("secret") and not check.verify("other") and not check.controlled
    for i in range(len(data)):  # every bit counts, by fingerprint if not by integrity
        forged = bytearray(data)
        forged[i] ^= 1
        again = stun.parse_check(bytes(forged))
        assert again is None or not again.verify("secret")


def test_stun_vector_of_rfc_5769() -> None:
    request = bytes.fromhex(
        "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
        "002400046e0001ff80290008932ff9b151263b36000600096576746a3a683676592020200008001"
        "49aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
    )
    check = stun.parse_check(request)
    assert check is not None and check.local_ufrag == "evtj" and check.controlled
    assert check.verify("VOkJxbRl1RmTxUk/WvJxBt")


@settings(max_examples=500)
@given(st.binary(max_size=120))
def test_parsers_survive_any_bytes(data: bytes) -> None:
    assert stun.parse_check(data) is None
    header = rtp.parse(data)
    if header is not None:
        list(rtp.extensions(data, header))
        assert rtp.parse(rtp.plain(data, header)) is not None
    list(rtcp.parse(data))


@settings(max_examples=300)
@given(st.binary(max_size=100))
def test_a_header_with_any_tail_survives(tail: bytes) -> None:
    for first in (0x80, 0x90, 0xB0, 0xAF, 0x9F):
        data = bytes([first, 96, 0, 1]) + bytes(8) + tail
        header = rtp.parse(data)
        if header is not None:
            assert 12 <= header.payload_start <= header.payload_end <= len(data)
            list(rtp.extensions(data, header))
    for kind in (200, 201, 203, 205, 206):
        for count in (0, 1, 4, 31):
            body = tail[: len(tail) // 4 * 4]
            list(rtcp.parse(rtcp.packet(count, kind, body)))


def test_rtp_agrees_with_another_implementation() -> None:
    block = rtp.extension_block([(1, b"stage"), (4, b"\x85")])
    head = rtp.head(
        padding=False, marker=True, payload_type=102, sequence=65535, timestamp=7, ssrc=9,
        block=block,
    )  # fmt: skip
    theirs = aiortc.rtp.RtpPacket.parse(head + b"payload")
    assert (theirs.marker, theirs.payload_type, theirs.sequence_number) == (1, 102, 65535)
    assert (theirs.timestamp, theirs.ssrc, theirs.payload) == (7, 9, b"payload")
    ours = rtp.parse(head + b"payload")
    assert ours is not None
    found = [(i, bytes(value)) for i, value in rtp.extensions(head + b"payload", ours)]
    assert found == [(1, b"stage"), (4, b"\x85")]
    ending = b"\x10a" + bytes(2) + b"\x01bc" + b"\x10d" + bytes(3)  # an id of 0 has no length
    named = struct.pack("!HH", 0xBEDE, len(ending) // 4) + ending
    header = rtp.parse(ended := bytes([0x90]) + head[1:12] + named)
    assert header is not None
    assert [(i, bytes(value)) for i, value in rtp.extensions(ended, header)] == [(1, b"a")]
    padded = bytes([head[0] | 0x20]) + head[1:] + b"payload" + bytes([0, 0, 3])
    ours = rtp.parse(padded)
    assert ours is not None
    assert rtp.plain(padded, ours)[12:] == b"payload"


def test_rtcp_agrees_with_another_implementation() -> None:
    nack = rtcp.nack(1, 2, [65534, 65535, 3, 20])
    (theirs,) = aiortc.rtp.RtcpPacket.parse(nack)
    assert [n & 0xFFFF for n in theirs.lost] == [65534, 65535, 3, 20]
    assert list(rtcp.parse(nack)) == [rtcp.Nack(2, (65534, 65535, 3, 20))]
    block = rtcp.ReportBlock(5, 64, -3, 70000, 12, 0xABCD, 99)
    report = rtcp.receiver_report(1, [block], "name")
    rr, sdes = aiortc.rtp.RtcpPacket.parse(report)
    assert (rr.reports[0].packets_lost, rr.reports[0].highest_sequence) == (-3, 70000)
    assert sdes.chunks[0].items == [(1, b"name")]
    assert list(rtcp.parse(report)) == [block]
    sender = rtcp.sender_report(4, 5 << 32, 1 << 32 | 6, 7, 8, "name")
    sr, _ = aiortc.rtp.RtcpPacket.parse(sender)
    assert (sr.ssrc, sr.sender_info.ntp_timestamp, sr.sender_info.rtp_timestamp) == (4, 5 << 32, 6)
    assert list(rtcp.parse(rtcp.pli(1, 2))) == [rtcp.KeyframeRequest(2)]


def decode_feedback(packet: bytes) -> dict[int, float]:
    """Arrival times by number, read as the draft says (an independent reading)."""
    base, count, reference = struct.unpack_from("!HHI", packet, 12)
    clock_s = (reference >> 8) * 0.064
    position, statuses = 20, []
    while len(statuses) < count:
        (chunk,) = struct.unpack_from("!H", packet, position)
        position += 2
        if chunk >> 15 == 0:
            statuses += [chunk >> 13 & 3] * (chunk & 0x1FFF)
        else:
            assert chunk >> 14 & 1, "two-bit symbols"
            statuses += [chunk >> (12 - 2 * i) & 3 for i in range(7)]
    found = {}
    for i, status in enumerate(statuses[:count]):
        if status == 1:
            clock_s += packet[position] * 250e-6
            position += 1
        elif status == 2:
            clock_s += struct.unpack_from("!h", packet, position)[0] * 250e-6
            position += 2
        if status:
            found[(base + i) & 0xFFFF] = clock_s
    assert len(packet) - position < 4
    return found


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.tuples(st.integers(1, 40), st.floats(0, 0.5)), min_size=1, max_size=60),
)
def test_transport_feedback_tells_each_arrival_once(
    first: int, steps: list[tuple[int, float]]
) -> None:
    feedback, expected, told = Feedback(), {}, {}
    number, now_s = first, 1000.0
    for i, (step, wait_s) in enumerate(steps):
        feedback.receive(number & 0xFFFF, now_s)
        expected[number & 0xFFFF] = now_s
        number, now_s = number + step, now_s + wait_s
        if i % 7 == 6:
            for packet in feedback.report(1, 2):
                told |= decode_feedback(packet)
    for packet in feedback.report(1, 2):
        told |= decode_feedback(packet)
    assert feedback.report(1, 2) == []
    assert told.keys() == expected.keys()
    assert all(abs(told[n] - expected[n]) < 0.001 for n in expected)


def test_feedback_on_few_packets_waits_twice_for_more() -> None:
    feedback, number, told = Feedback(), 0, []
    for came in (1, 1, 0, 3, 0, 4, 9, 1, 8):
        for _ in range(came):
            feedback.receive(number, 1.0)
            number += 1
        told.append(feedback.due() and bool(feedback.report(1, 2)))
    assert told == [False, False, True, False, False, True, True, False, True]
    feedback.receive(number + 30, 2.0)
    assert feedback.due(), "thirty are missing"


@given(st.sets(st.integers(0, 1999), min_size=1), st.randoms())
def test_feedback_and_requests_of_any_number_fit_their_datagrams(
    numbers: set[int], chance: random.Random
) -> None:
    """More than fits one was dropped before, and the publisher heard nothing."""
    feedback = Feedback()
    feedback.receive(0, 1000.0)
    for number in numbers:
        feedback.receive(number, 1000.0 + chance.random())
    packets = feedback.report(1, 2)
    assert all(len(packet) <= rtcp.MAX_DATAGRAM_BYTES for packet in packets)
    told: dict[int, float] = {}
    covered: list[int] = []
    for packet in packets:
        told |= decode_feedback(packet)
        base, count = struct.unpack_from("!HH", packet, 12)
        covered += range(base, base + count)
    assert told.keys() == numbers | {0}
    assert covered == list(range(max(numbers) + 1)), "each is told of once, missing or not"

    missing = [3 * number & 0xFFFF for number in sorted(numbers)]
    parts = [*rtcp.nacks(1, 2, missing), rtcp.pli(1, 2)]
    sent = list(rtcp.datagrams(parts))
    assert all(len(each) <= rtcp.MAX_DATAGRAM_BYTES for each in sent)
    *asked, last = [item for each in sent for item in rtcp.parse(each)]
    assert [n for each in asked if isinstance(each, rtcp.Nack) for n in each.sequences] == missing
    assert isinstance(last, rtcp.KeyframeRequest)


def test_descriptions_are_negotiated_by_preference() -> None:
    digest = ":".join(["AB"] * 32)
    offer = sdp.parse(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n"
        f"a=fingerprint:SHA-256 {digest.lower()}\r\na=setup:passive\r\na=ice-ufrag:abcd\r\n"
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 39 40 45 97 98\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n"
        "a=rtpmap:39 VP8/90000\r\na=rtpmap:40 H264/90000\r\na=rtpmap:45 H264/90000\r\n"
        "a=rtpmap:97 H264/90000\r\na=rtpmap:98 rtx/90000\r\n"
        "a=fmtp:40 packetization-mode=0;profile-level-id=42e01f\r\n"
        "a=fmtp:45 packetization-mode=1; Profile-Level-Id=42E01F\r\n"
        "a=fmtp:97 profile-level-id=640c1f;packetization-mode=1\r\n"
        "a=rtcp-fb:* nack pli\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\n"
        "a=ssrc-group:FID 11 12\r\na=rid:h send\r\na=simulcast:send h\r\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:2\r\na=rtpmap:97 VP8/90000\r\n"
    )
    lines = negotiation.accept_offer(offer, publishing=True)
    assert lines[0] is None and lines[2] is None, "one picture a publication"
    line = lines[1]
    assert line is not None and line.ssrcs == [11]
    assert [codec.payload_type for codec in line.codecs] == [45]
    remote = negotiation.remote(offer, offer=True)
    assert remote.client and remote.fingerprints == [("sha-256", digest)]
    transport = sdp.Transport("u", "p", "sha-256 CC", "active", (("192.0.2.1", 5000),))
    answer = negotiation.write_answer(offer, lines, transport, session=1)
    parsed = sdp.parse(answer)
    assert parsed.bundle == ["1"] and [s.port for s in parsed.sections] == [0, 9, 0]
    assert "simulcast" not in answer and "a=setup:active" in answer
    assert parsed.sections[1].codecs[45].feedback == ["nack pli"]
    played = negotiation.accept_offer(sdp.parse(str(answer.replace("recvonly", "sendrecv"))),
                                      publishing=False)  # fmt: skip
    assert played[1] is not None


def test_a_captured_simulcast_offer_is_answered_with_its_layers() -> None:
    text = (PACKETS / "chromium-simulcast-offer.sdp").read_text()
    offer = sdp.parse(text)
    audio, video = negotiation.accept_offer(offer, publishing=True)
    assert audio is not None and video is not None
    assert negotiation.normal_name(audio.codecs[0]) == "opus"
    (codec,) = video.codecs
    assert codec.format["profile-level-id"] == "42e01f"
    assert codec.format["packetization-mode"] == "1"
    assert set(video.extensions) == {
        *(rtp.MID_URI, rtp.RID_URI, rtp.REPAIRED_RID_URI, rtp.TRANSPORT_CC_URI, rtp.LAYERS_URI)
    }
    assert video.rids == ["l", "m", "h"] and list(video.rtx) == [codec.payload_type]
    assert set(audio.extensions) == {rtp.MID_URI, rtp.AUDIO_LEVEL_URI, rtp.TRANSPORT_CC_URI}
    transport = sdp.Transport("u", "p", "sha-256 CC", "active", (("192.0.2.1", 5000),))
    answer = negotiation.write_answer(offer, [audio, video], transport, session=1)
    assert "a=simulcast:recv l;m;h\r\n" in answer and "a=rid:m recv\r\n" in answer
    assert (
        "a=extmap-allow-mixed\r\n" in answer
    ), "what tells of three layers is longer than 16 bytes"
    number = video.rtx[codec.payload_type]
    assert f"a=fmtp:{number} apt={codec.payload_type}\r\n" in answer
    assert "transport-cc" in answer and "nack pli" in answer


def test_what_firefox_offers_only_bundled_is_accepted() -> None:
    text = (PACKETS / "firefox-simulcast-offer.sdp").read_text()
    offer = sdp.parse(text)
    audio, video = negotiation.accept_offer(offer, publishing=True)
    assert audio is not None and video is not None
    assert [negotiation.normal_name(codec) for codec in video.codecs] == ["VP8"]
    assert video.rids == ["q", "h", "f"]
    refused = sdp.parse(text.replace("a=bundle-only\n", ""))  # port 0 alone
    assert negotiation.accept_offer(refused, publishing=True)[1] is None


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_opus_corrects_and_falls_silent_as_offered(browser: str) -> None:
    text = (PACKETS / f"{browser}-simulcast-offer.sdp").read_text()
    offer = sdp.parse(text.replace("useinbandfec=1", "useinbandfec=1;usedtx=1"))
    lines = negotiation.accept_offer(offer, publishing=True)
    transport = sdp.Transport("u", "p", "sha-256 CC", "active", (("192.0.2.1", 5000),))
    answer = sdp.parse(negotiation.write_answer(offer, lines, transport, session=1))
    (opus,) = answer.sections[0].codecs.values()
    assert opus.format == offer.sections[0].codecs[opus.payload_type].format
    assert (opus.format["useinbandfec"], opus.format["usedtx"]) == ("1", "1")
    (slot,) = negotiation.slot_lines(0, audio=True)[-1].codecs
    assert slot.format["useinbandfec"] == "1", "receivers are told to make use of it"


@pytest.mark.parametrize("ssrc", ["4294967296", "-1"])
@pytest.mark.parametrize("line", ["ssrc:{} cname:x", "ssrc-group:FID 11 {}"])
def test_an_ssrc_that_no_packet_can_have_is_refused(line: str, ssrc: str) -> None:
    """It would be written into RTCP at every tick, and stop the whole conference's."""
    offer = (PACKETS / "chromium-simulcast-offer.sdp").read_text()
    with refused(Fault.SDP_LINE, f"a={line.format(ssrc)}"):
        sdp.parse(f"{offer}a={line.format(ssrc)}\r\n")


def test_an_encoder_may_pack_whole_slices_and_no_player_is_sent_less_than_it_reads() -> None:
    """``packetization-mode=0`` (RFC 6184, 6.2), which is also what is meant where none is named."""
    values = {
        "ufrag": "u",
        "password": "p",
        "fingerprint": "sha-256 AA",
        "setup": "actpass",
        "name": "-",
    }
    offer = OFFER.format(**values, direction="sendonly", codec="H264")
    offer = offer.replace("packetization-mode=1;", "")
    line, *_ = [x for x in negotiation.accept_offer(sdp.parse(offer), publishing=True) if x]
    assert "packetization-mode" not in line.codecs[0].format
    with refused(Fault.VIDEO_CODEC, "H264/90000"):
        negotiation.accept_offer(sdp.parse(offer.replace("sendonly", "recvonly")), publishing=False)
    interleaved = offer.replace("profile-level-id", "packetization-mode=2;profile-level-id")
    with refused(Fault.VIDEO_CODEC, "H264/90000 packetization-mode=2"):
        negotiation.accept_offer(sdp.parse(interleaved), publishing=True)


@pytest.mark.parametrize(
    ("was", "becomes", "fault", "about"),
    [
        ("v=0", "v=1", Fault.SDP_HEAD, ""),
        ("m=", "x=", Fault.SDP_HEAD, ""),
        ("s=-", "s=-\r\n" * 10_001, Fault.SDP_SIZE, "lines: 100"),
        ("s=-", "s=" + "x" * 200_000, Fault.SDP_SIZE, "bytes: 20"),
        ("m=video", "m=audio 9 x 0\r\n" * 200 + "m=video", Fault.SDP_SIZE, "m=: 202 > 200"),
        ("m=video 9", "m=video nine", Fault.SDP_LINE, "m=video nine UDP/TLS/RTP/SAVPF 106"),
        ("a=rtpmap:106 ", "a=rtpmap:128 ", Fault.SDP_LINE, "a=rtpmap:128 "),
        ("a=fmtp:106", "a=fmtp:\x1b[1m", Fault.SDP_LINE, "a=fmtp:\N{REPLACEMENT CHARACTER}[1m "),
        ("a=mid:v", "a=mid:a", Fault.MID, "m=audio (a=mid:a)"),
        ("a=mid:v", "a=mid:", Fault.MID, "m=video (a=mid:)"),
        ("sendonly", "recvonly", Fault.DIRECTION, "m=video a=recvonly, m=audio a=recvonly"),
        ("H264/", "H265/", Fault.VIDEO_CODEC, "H265/90000"),
        ("opus/48000/2", "PCMU/8000", Fault.AUDIO_CODEC, "PCMU/8000"),
        ("a=rtpmap:109", "a=x", Fault.AUDIO_CODEC, "m=audio 109"),
        ("106", "72", Fault.PAYLOAD_TYPE, "a=rtpmap:72 H264/90000"),
        ("109", "95", Fault.PAYLOAD_TYPE, "a=rtpmap:95 opus/48000"),
        ("BUNDLE v a", "BUNDLE v", Fault.BUNDLE, "m=audio (a=mid:a)"),
        ("a=group", "a=x", Fault.BUNDLE, "m=video (a=mid:v)"),
        ("a=rtcp-mux", "a=x", Fault.RTCP_MUX, "m=video (a=mid:v)"),
        ("a=ice-ufrag", "a=x", Fault.ICE_UFRAG, ""),
        ("a=ice-ufrag:u", "a=ice-ufrag:", Fault.ICE_UFRAG, ""),
        ("a=setup", "a=x", Fault.SETUP, ""),
        ("actpass", "holdconn", Fault.SETUP, "holdconn"),
        ("a=fingerprint", "a=x", Fault.FINGERPRINT, ""),
        ("sha-256", "sha-1", Fault.FINGERPRINT, "sha-1 AB:CD"),
        ("AB:CD", "ABCD", Fault.FINGERPRINT, "sha-256 ABCD"),
        (":AB", "", Fault.FINGERPRINT, "sha-256 AB:CD"),
        ("AB", "XY", Fault.FINGERPRINT, "sha-256 XY"),
    ],
)
def test_who_offers_what_cannot_be_is_told_which_line_it_is(
    was: str, becomes: str, fault: Fault, about: str
) -> None:
    fingerprint = "sha-256 " + ":".join(["AB", "CD"] * 16)
    values = {"ufrag": "u", "password": "p", "fingerprint": fingerprint, "setup": "actpass"}
    offer = OFFER.format(**values, name="-", direction="sendonly", codec="H264")

    def read(text: str) -> negotiation.Remote:
        description = sdp.parse(text)
        negotiation.accept_offer(description, publishing=True)
        return negotiation.remote(description, offer=True)

    assert read(offer).client and was in offer
    with refused(fault, about):
        read(offer.replace(was, becomes))


def test_each_fault_has_a_code_of_its_own_and_says_what_it_is_about() -> None:
    for fault in Fault:
        assert fault.sentence % {"about": "m=video"} and fault.status in (406, 422)
    assert len(InvalidDescription(Fault.SDP_LINE, "x" * 10_000).about) <= MAX_ABOUT + 1


@pytest.mark.parametrize("captured", sorted(PACKETS.glob("*.sdp")), ids=lambda path: path.stem)
def test_an_offer_of_more_than_one_path_is_told_apart(captured: Path) -> None:
    """Nobody would ever hear us on the second one, nor send RTCP on its own."""
    offer = captured.read_text()
    audio, video = negotiation.accept_offer(sdp.parse(offer), publishing=True)
    assert audio is not None and video is not None
    for was, becomes, fault in (
        ("a=group:BUNDLE", "a=x", Fault.BUNDLE),
        ("BUNDLE ", "BUNDLE x", Fault.BUNDLE),
        ("rtcp-mux\n", "x\n", Fault.RTCP_MUX),
    ):
        with refused(fault, "m="):
            negotiation.accept_offer(sdp.parse(offer.replace(was, becomes, 1)), publishing=True)
    alone = offer.replace("m=audio", "m=text").replace("a=group:BUNDLE", "a=x")
    assert any(negotiation.accept_offer(sdp.parse(alone), publishing=True)), "one is a path alone"


@pytest.mark.parametrize("direction", ["recvonly", "inactive"])
def test_a_publisher_that_sends_nothing_lacks_no_codec(direction: str) -> None:
    values = {"ufrag": "u", "password": "p", "fingerprint": "sha-256 AA", "setup": "actpass"}
    offer = OFFER.format(**values, name="-", direction=direction, codec="H264")
    with refused(Fault.DIRECTION, direction):
        negotiation.accept_offer(sdp.parse(offer), publishing=True)


def test_a_codec_has_one_clock_rate() -> None:
    names = {
        negotiation.normal_name(sdp.Codec(96, name, clock_rate_hz))
        for name in ("VP8", "opus", "AV1")
        for clock_rate_hz in (0, -1, 8000, 10**400)
    }
    assert names == {None}


texts = st.text(alphabet=st.sampled_from("avm=:/ 0123456789-\r\nrtpmapfmtpssrcsetup"), max_size=200)


@settings(max_examples=300)
@given(texts)
def test_any_description_is_parsed_or_invalid(text: str) -> None:
    for whole in (text, f"v=0\n{text}", f"v=0\nm=video 9 UDP/TLS/RTP/SAVPF 96\na={text}"):
        try:
            negotiation.accept_offer(sdp.parse(whole), publishing=True)
        except InvalidDescription:
            pass


@given(st.binary(max_size=300))
def test_frames_of_messages_are_decoded_or_refused(data: bytes) -> None:
    decoder = messages.Decoder(messages.ToWorker)
    good = messages.encode(messages.Forget("x"))
    assert list(decoder.feed(good + good[:3])) == [messages.Forget("x")]
    assert list(decoder.feed(good[3:])) == [messages.Forget("x")]
    try:
        list(messages.Decoder(messages.ToWorker).feed(data))
    except ValueError:  # msgspec's errors are ValueErrors too
        pass


def test_every_private_name_of_aiortc_and_pylibsrtp_exists() -> None:
    for owner, name in peer.PRIVATE_NAMES:
        assert hasattr(owner, name), name
    certificate, _ = peer.make_certificate()
    transport = RTCDtlsTransport(object(), [certificate])  # type: ignore[arg-type]
    for name in peer.PRIVATE_ATTRIBUTES:
        assert hasattr(transport, name), name
