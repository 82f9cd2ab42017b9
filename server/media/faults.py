"""What may be wrong with a session description, for who made it: the one table of it.

A fault has a stable code, its name in lower case, which is for programs; the status of an answer over
HTTP (RFC 9725, 4.2); and a sentence for people, in which ``%(about)s`` stands for the line or section
that is meant.
"""

from __future__ import annotations

from enum import Enum

from server.errors import N_

MAX_ABOUT = 120
"""characters of somebody else's description that are repeated"""


class Fault(Enum):
    """Why a description, or a fragment of one, is refused."""

    SDP_SIZE = 422, N_("Bản mô tả SDP quá lớn: %(about)s.")
    SDP_HEAD = 422, N_(
        "Đây không phải bản mô tả SDP: phải bắt đầu bằng v=0 và có ít nhất một dòng m=."
    )
    SDP_LINE = 422, N_("Bản mô tả SDP có dòng không đọc được: %(about)s")
    MID = 422, N_("Mỗi phần m= trong bản mô tả SDP phải có a=mid riêng: %(about)s.")
    DIRECTION = 422, N_(
        "Không phần nào của bản mô tả SDP có hình hoặc tiếng đúng chiều (%(about)s): bên gửi cần a=sendonly "
        "hoặc a=sendrecv, bên xem cần a=recvonly hoặc a=sendrecv."
    )
    VIDEO_CODEC = 406, N_(
        "Không có dạng hình nào máy chủ nhận: cần H.264 (packetization-mode 0 hoặc 1 để gửi, 1 để xem) hoặc "
        "VP8, bản mô tả SDP chỉ có %(about)s."
    )
    AUDIO_CODEC = 406, N_(
        "Không có dạng tiếng nào máy chủ nhận: cần Opus, bản mô tả SDP chỉ có %(about)s."
    )
    PAYLOAD_TYPE = 422, N_(
        "Kiểu tải (payload type) 64 đến 95 lẫn với RTCP khi đi chung đường: hãy dùng 96 đến 127 thay cho "
        "%(about)s."
    )
    BUNDLE = 422, N_(
        "Hình và tiếng phải đi chung một đường: a=group:BUNDLE của bản mô tả SDP thiếu phần %(about)s."
    )
    RTCP_MUX = 422, N_(
        "RTCP phải đi chung đường với hình và tiếng: thiếu a=rtcp-mux ở phần %(about)s."
    )
    ICE_UFRAG = 422, N_("Bản mô tả SDP thiếu a=ice-ufrag.")
    FINGERPRINT = 422, N_(
        "Bản mô tả SDP cần a=fingerprint theo sha-256, sha-384 hoặc sha-512; nhận được: %(about)s."
    )
    SETUP = 422, N_(
        "Bản mô tả SDP cần a=setup:actpass, active hoặc passive (bản trả lời: active hoặc passive); nhận "
        "được: %(about)s."
    )
    SECTIONS = 422, N_("Bản trả lời SDP phải có đúng các phần m= của bản mời, theo đúng thứ tự.")
    CHANGED = 422, N_(
        "Khi khởi động lại ICE chỉ a=ice-ufrag và a=ice-pwd được đổi: %(about)s khác bản mô tả SDP đầu."
    )
    FRAGMENT = 422, N_(
        "Mảnh SDP không có dòng nào dùng được: cần a=ice-ufrag, a=candidate hoặc a=end-of-candidates."
    )
    CREDENTIALS = 422, N_(
        "a=ice-ufrag phải có 4 đến 256 ký tự, a=ice-pwd 22 đến 256, chỉ gồm chữ cái không dấu, chữ số, + "
        "và /."
    )

    @property
    def code(self) -> str:
        """Its name on every wire."""
        return self.name.lower()

    @property
    def status(self) -> int:
        """Of an answer over HTTP."""
        return self.value[0]

    @property
    def sentence(self) -> str:
        """Vietnamese, with a place for ``about`` or without."""
        return self.value[1]


class InvalidDescription(ValueError):
    """This description cannot be worked with: its ``fault``, and what it is ``about``."""

    def __init__(self, fault: Fault, about: str = "") -> None:
        super().__init__(fault.code)
        self.fault = fault
        shown = "".join(
            c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in about[:MAX_ABOUT]
        )
        self.about = shown + "…" * (len(about) > MAX_ABOUT)
