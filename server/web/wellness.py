"""Whether the server is well, in words: pure judgements over figures. No I/O, no clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from server.errors import N_
from server.media.faults import Fault
from server.web import vitals
from server.web.health import FULL, READS_ALONE, SILENT
from server.web.vitals import Window


class State(StrEnum):
    """How a part stands; ``idle``: there is nothing to judge yet."""

    GOOD = "good"
    WATCH = "watch"
    WRONG = "wrong"
    IDLE = "idle"


RECORDING_BYTES_PER_HOUR = 1_800_000_000
"""What a recording takes at most (docs/deployment.md)."""
LATE_S, VERY_LATE_S = 0.1, 0.5
"""A person notices an answer that is later than the one, waits for one later than the other."""
SLOW_COMMIT_S, VERY_SLOW_COMMIT_S = 0.25, 2.5
MANY_WAITING, TOO_MANY_WAITING = 1000, 6000
"""Commands before the writer: a burst of all phones passes in a second; beyond the other they are
refused (live/limits.py)."""
MUCH_QUEUED_BYTES = 64 << 20
FEW_HOURS, TOO_FEW_HOURS = 10, 2
MUCH_RESTARTED = 3
OUTAGE_TOLD_S = 8 * 3600.0
"""Who looks after the conference shall still read of what happened in it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the parts now."""

    window: Window
    database: str
    """``ok``, or what health.py says is wrong"""
    last_outage: tuple[float, float] | None
    """seconds since it was over, and its length"""
    waiting: int
    workers: Sequence[bool]
    recorders: Sequence[bool]
    restarts: Mapping[str, int]
    free_bytes: int | None
    """left for recordings; None: the folder cannot be read"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One part: a sentence about it, and what to do where it is not well."""

    name: str
    state: State
    sentence: str
    advice: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def judge(facts: Facts) -> list[Finding]:
    """Every part, in the order in which one would look."""
    return [
        _database(facts),
        *_writing(facts),
        *_sockets(facts.window),
        _refused(facts.window),
        *_children(facts),
        _disk(facts.free_bytes),
    ]


def overall(findings: Sequence[Finding]) -> State:
    """The worst of all."""
    states = {finding.state for finding in findings}
    return next((s for s in (State.WRONG, State.WATCH) if s in states), State.GOOD)


def _level(value: float, watch: float, wrong: float) -> State:
    return State.WRONG if value > wrong else State.WATCH if value > watch else State.GOOD


def _ms(bound_s: float, largest_s: float) -> tuple[str, int]:
    """The words for a bucket's bound, and its milliseconds."""
    if math.isinf(bound_s):
        return N_("hơn %(ms)s ms"), round(largest_s * 1000)
    return N_("dưới %(ms)s ms"), math.ceil(bound_s * 1000)


_AWAY = {
    SILENT: (
        N_("Không trả lời. Lệnh mới bị hoãn; những gì đã được xác nhận không mất."),
        N_("Xem cơ sở dữ liệu còn chạy và đĩa của nó còn chỗ không."),
    ),
    FULL: (
        N_("Đĩa đã đầy. Lệnh mới bị hoãn; những gì đã xác nhận không mất."),
        N_("Giải phóng chỗ trên đĩa của cơ sở dữ liệu; máy chủ tự ghi tiếp, không cần bật lại."),
    ),
    READS_ALONE: (
        N_("Đọc được nhưng không ghi được. Lệnh mới bị hoãn; những gì đã xác nhận không mất."),
        N_("Xem có chương trình khác đang khóa cơ sở dữ liệu, đĩa đầy, hoặc chỉ cho đọc không."),
    ),
}
"""what is wrong with the database → in words, and what to do"""


def _database(facts: Facts) -> Finding:
    name = N_("Cơ sở dữ liệu")
    if facts.database in _AWAY:
        return Finding(name, State.WRONG, *_AWAY[facts.database])
    if facts.last_outage is None or facts.last_outage[0] > OUTAGE_TOLD_S:
        return Finding(name, State.GOOD, N_("Trả lời bình thường."))
    ago_s, lasted_s = facts.last_outage
    return Finding(
        name,
        State.GOOD,
        N_(
            "Trả lời bình thường. Trong %(ago)s phút qua có lúc không ghi được, %(lasted)s giây; "
            "những gì đã xác nhận không mất."
        ),
        values={"ago": math.ceil(ago_s / 60), "lasted": math.ceil(lasted_s)},
    )


def _writing(facts: Facts) -> Iterator[Finding]:
    """The loop's delay, the inbox and the commits."""
    window = facts.window
    name, late_s = N_("Độ trễ xử lý"), window.quantile(vitals.LOOP, 1.0)
    if late_s is None:
        yield Finding(name, State.IDLE, N_("Chưa đo: một phút qua chưa có ai kết nối."))
    else:
        how, ms = _ms(late_s, 2.5)
        yield Finding(
            name,
            _level(late_s, LATE_S, VERY_LATE_S),
            N_("Lúc chậm nhất trong một phút qua: %(how)s."),
            N_("Máy quá tải: dừng các chương trình khác trên máy này, hoặc dùng máy mạnh hơn."),
            {"how": (how, {"ms": ms})},
        )
    size = window.quantile(vitals.BATCH, 0.5)
    yield Finding(
        N_("Lệnh đang chờ ghi"),
        _level(facts.waiting, MANY_WAITING, TOO_MANY_WAITING),
        N_("Đang chờ: %(waiting)s. Mỗi lần ghi thường gồm đến %(size)s lệnh."),
        N_("Nhiều người gửi cùng lúc, hoặc cơ sở dữ liệu ghi chậm: xem dòng “Thời gian ghi”."),
        {"waiting": facts.waiting, "size": 0 if size is None or math.isinf(size) else int(size)},
    )
    name, commit_s = N_("Thời gian ghi"), window.quantile(vitals.COMMIT, 0.99)
    if commit_s is None:
        yield Finding(name, State.IDLE, N_("Một phút qua không ghi gì."))
        return
    half, worst = _ms(window.quantile(vitals.COMMIT, 0.5) or 0.0, 10.0), _ms(commit_s, 10.0)
    yield Finding(
        name,
        _level(commit_s, SLOW_COMMIT_S, VERY_SLOW_COMMIT_S),
        N_("Một phút qua, kể cả ghi xuống đĩa: thường %(half)s, chậm nhất %(worst)s."),
        N_("Đĩa của cơ sở dữ liệu chậm hoặc đang bận việc khác."),
        {"half": (half[0], {"ms": half[1]}), "worst": (worst[0], {"ms": worst[1]})},
    )


def _sockets(window: Window) -> Iterator[Finding]:
    """Connections, what they have not read, and who came back."""
    sockets = int(window.now(vitals.SOCKETS))
    yield Finding(
        N_("Kết nối"),
        State.GOOD if sockets else State.IDLE,
        N_("Đang kết nối: %(sockets)s trang.") if sockets else N_("Chưa có ai kết nối."),
        values={"sockets": sockets} if sockets else {},
    )
    queued = int(window.now(vitals.QUEUED))
    cut = sum(window.by_label(vitals.CUT_OFF).values())
    much = cut > 0 or queued > MUCH_QUEUED_BYTES
    yield Finding(
        N_("Dữ liệu chưa nhận"),
        State.WATCH if much else State.GOOD,
        N_("Các trang chưa đọc: %(kb)s kB. Bị ngắt trong một phút qua vì không đọc: %(cut)s."),
        N_("Mạng của một số điểm cầu chậm hoặc nghẽn; trang bị ngắt tự kết nối lại."),
        {"kb": math.ceil(queued / 1000), "cut": cut},
    )
    resyncs = window.by_label(vitals.RESYNCS)
    yield Finding(
        N_("Đồng bộ lại"),
        State.GOOD if sockets else State.IDLE,
        N_("Một phút qua: %(snapshot)s lần gửi lại toàn bộ, %(missed)s lần gửi phần còn thiếu."),
        values={"snapshot": resyncs.get("snapshot", 0), "missed": resyncs.get("missed", 0)},
    )


_SDP = "sdp"
"""whichever fault it has: the log says"""
_FAULTS = {fault.code: _SDP for fault in Fault}
_REFUSALS = {
    "broken": (
        State.WRONG,
        N_("lỗi của chính máy chủ: %(n)s"),
        N_("Nhật ký của máy chủ ghi lỗi này: gửi nó cho người phát triển. Lệnh đó chưa được làm."),
    ),
    "unavailable": (
        State.WATCH,
        N_("chưa ghi được: %(n)s"),
        N_(
            "Trang tự gửi lại những lệnh này; nếu kéo dài, xem dòng “Cơ sở dữ liệu” và “Thời gian ghi”."
        ),
    ),
    "slow_down": (
        State.WATCH,
        N_("gửi quá nhanh hoặc quá nhiều cùng lúc: %(n)s"),
        N_("Trang tự gửi lại những lệnh này; nếu kéo dài, xem dòng “Lệnh đang chờ ghi”."),
    ),
    "conflict": (State.GOOD, N_("đến khi tình trạng đã đổi, thí dụ câu hỏi đã đóng: %(n)s"), ""),
    "forbidden": (State.GOOD, N_("không có quyền: %(n)s"), ""),
    "unauthenticated": (State.GOOD, N_("phiên đã hết hạn hoặc bị thu hồi: %(n)s"), ""),
    "not_found": (State.GOOD, N_("thứ được nói đến không còn: %(n)s"), ""),
    "invalid": (State.GOOD, N_("dữ liệu không hợp lệ: %(n)s"), ""),
    _SDP: (State.GOOD, N_("bản mô tả hình và tiếng (SDP) không dùng được: %(n)s"), ""),
}
"""code of a refusal → how bad that is for the server, in words, and what to do; the worst first"""
_OTHER = State.GOOD, N_("lý do khác: %(n)s"), ""


def _refused(window: Window) -> Finding:
    name, refused = N_("Lệnh bị từ chối"), Counter[str]()
    for code, count in window.by_label(vitals.REFUSED).items():
        refused[_FAULTS.get(code, code)] += count
    if not refused:
        return Finding(name, State.GOOD, N_("Một phút qua không có."))
    known = [code for code in _REFUSALS if code in refused]
    others = sum(count for code, count in refused.items() if code not in _REFUSALS)
    kinds = [(_REFUSALS[code], refused[code]) for code in known] + [(_OTHER, others)] * bool(others)
    state, _, advice = kinds[0][0]
    return Finding(
        name,
        state,
        (
            N_("Một phút qua: %(all)s, vì %(reasons)s. Người gửi đã được báo; không cần làm gì.")
            if state is State.GOOD
            else N_("Một phút qua: %(all)s, vì %(reasons)s.")
        ),
        advice,
        {
            "all": refused.total(),
            "reasons": [(words, {"n": count}) for (_, words, _), count in kinds],
        },
    )


def _children(facts: Facts) -> Iterator[Finding]:
    """Web itself, media workers and recorders."""
    kinds = (
        (N_("Máy chủ web"), "web", [True]),  # which says this
        (N_("Bộ chuyển tiếp hình tiếng"), "worker", facts.workers),
        (N_("Bộ ghi hình"), "recorder", facts.recorders),
    )
    for name, kind, standing in kinds:
        restarts = sum(n for child, n in facts.restarts.items() if child.startswith(kind))
        if not standing:
            yield Finding(name, State.IDLE, N_("Không có."))
            continue
        up = sum(standing)
        unsteady = State.WATCH if restarts >= MUCH_RESTARTED else State.GOOD
        yield Finding(
            name,
            State.WRONG if up < len(standing) else unsteady,
            N_("Đang chạy: %(up)s trên %(all)s. Đã khởi động lại: %(restarts)s lần."),
            N_("Tiến trình được tự khởi động lại; nếu lặp lại, xem nhật ký của máy chủ."),
            {"up": up, "all": len(standing), "restarts": restarts},
        )


def _disk(free_bytes: int | None) -> Finding:
    name = N_("Đĩa cho bản ghi")
    if free_bytes is None:
        return Finding(
            name,
            State.WRONG,
            N_("Không đọc được thư mục bản ghi."),
            N_("Xem thư mục RECORDINGS_DIR có tồn tại và còn gắn vào máy không."),
        )
    hours = free_bytes / RECORDING_BYTES_PER_HOUR
    return Finding(
        name,
        State.WRONG if hours < TOO_FEW_HOURS else State.WATCH if hours < FEW_HOURS else State.GOOD,
        N_("Còn %(gb)s GB, đủ ghi thêm khoảng %(hours)s giờ."),
        N_("Xóa hoặc chuyển bớt bản ghi cũ trước hội nghị tới."),
        {"gb": round(free_bytes / 1e9, 1), "hours": int(hours)},
    )
