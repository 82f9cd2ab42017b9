"""How lines are, as the desk and a room read it, and as Prometheus does."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, WAIT_S, eventually

pytestmark = pytest.mark.browser

# Each comes at its own time, and a rate is nought in a second in which nothing was sent.
METRICS = (
    # Only the browser knows the round trip of what it sends: it reports every ten seconds.
    r'diemcau_line_rtt_seconds{[^}]*line="camera"[^}]*way="up"} ',
    r'diemcau_line_bitrate_bps{[^}]*line="desk",site="",way="down"} [1-9]',
    r'diemcau_media_worker_packets_total{way="down",worker="0"} [1-9]',
)


# Keeps whatever the desk's row of a site has ever said.
REMEMBER = """(list, name) => {
  window.said = [];
  const look = () => window.said.push(
    [...list.children].find((row) => row.innerText.includes(name))?.innerText ?? "");
  new MutationObserver(look).observe(list, {childList: true, characterData: true, subtree: true});
}"""


# How a browser tells of a line that is too narrow for its picture.
NARROW = """
window.narrow = true;
const getStats = RTCPeerConnection.prototype.getStats;
RTCPeerConnection.prototype.getStats = async function (...given) {
  const told = [...(await getStats.apply(this, given))];
  const qualityLimitationReason = window.narrow ? "bandwidth" : "none";
  return new Map(told.map(([id, entry]) =>
    [id, entry.type === "outbound-rtp" ? {...entry, qualityLimitationReason} : entry]));
};
"""


async def test_desk_and_room_read_how_their_lines_are(demo: Demo, sit: Callable[..., Any]) -> None:
    operator = await sit(demo.urls["operator"], *SMALL, script=NARROW)
    await operator.sees("#voice", "Micrô thu tốt.")
    await operator.press("#join")
    await operator.sees("#publish-state", "Đang gửi hình và tiếng")
    await expect(operator.at("#level")).to_have_attribute("style", re.compile(r"--level: 0\.[1-9]"))
    await operator.press("#tab-lines")
    rows = operator.at("#lines > li")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Khoái Châu")
    for way in ("Camera: ", "Trang kỹ thuật: "):
        await expect(rows.locator(".quality", has_text=way)).to_have_attribute(
            "data-quality", re.compile("[0-4]")
        )
    await expect(rows).to_contain_text("kbit/s · mất gói")
    await operator.sees("#uplink", "Hình gửi lên đã giảm: đường lên hẹp")

    # A server that does not answer is not taken for one that says that all is well.
    await expect(operator.at("#lines-old")).to_be_hidden()
    quality = operator.at("#lines .quality").first
    colour = await quality.evaluate("each => getComputedStyle(each).color")
    with demo.halted("server.app"):
        await expect(operator.at("#lines-old")).to_be_visible()
        await expect(quality).not_to_have_css("color", colour)
    await expect(operator.at("#lines-old")).to_be_hidden()
    await expect(operator.at("#lines")).not_to_have_class(re.compile("old"))

    # Who may put a room on stage sees on its tile that its uplink is narrow.
    desk = await sit(demo.urls["moderator"])
    facts = desk.at("#wall li", "Khoái Châu").locator(".facts-over")
    await expect(facts).to_contain_text("đường lên hẹp")
    await desk.page.set_viewport_size({"width": 360, "height": 640})
    await desk.press("#lines-button")
    row = desk.at("#lines > li", "Khoái Châu")
    await expect(row).to_contain_text(
        re.compile(r"Trang kỹ thuật: từ \d\d:\d\d · Màn hình phòng: .* · Điện thoại đang nối: \d+")
    )
    await expect(row).to_contain_text("Camera: hình gửi lên đã giảm, đường lên hẹp")
    await operator.page.evaluate("narrow = false")
    await expect(desk.at("#lines > li", "Điểm cầu trung tâm")).to_contain_text("Bộ mã hoá: ")
    await expect(desk.at("#lines > li", "Ban tổ chức")).to_contain_text("Trang ban tổ chức: ")
    # However long the list and low the window, it can be closed.
    close = desk.at("#lines-dialog .dialog-head button")
    await expect(desk.at("#lines > li").last).not_to_be_in_viewport()
    await expect(close).to_be_in_viewport(ratio=1)
    await desk.at("#lines > li").last.scroll_into_view_if_needed()
    await expect(close).to_be_in_viewport(ratio=1)
    await desk.press("#lines-dialog .dialog-head button")
    await expect(desk.at("#lines")).to_be_hidden()

    def metrics() -> str:
        with urllib.request.urlopen(f"{demo.base_url}/metrics", timeout=WAIT_S) as answer:
            return str(answer.read().decode())

    async def told() -> str:
        return await asyncio.to_thread(metrics)

    async def shown(line: str) -> bool:
        return re.search(line, await told()) is not None

    for line in METRICS:
        await eventually(lambda line=line: shown(line), told)
    await expect(operator.at("#uplink")).not_to_contain_text("hẹp")
    await expect(facts).not_to_contain_text("hẹp")

    # Whose tab is closed has left, and has no dead line.
    await desk.press("#lines-button")
    for way in ("Camera: ", "Trang kỹ thuật: "):
        await expect(row.locator(".quality", has_text=way)).to_have_attribute(
            "data-quality", re.compile("[1-4]")
        )
    await desk.at("#lines").evaluate(REMEMBER, "Khoái Châu")
    await operator.page.close(run_before_unload=True)
    await expect(row).to_contain_text("Không gửi hình và tiếng")
    await expect(row).to_contain_text("Không nhận hình")
    assert "mất đường truyền" not in "".join(await desk.page.evaluate("said"))


# What a network does that drops all that goes to the media port, until it is opened.
BLOCKED = """
window.blocked = true;
window.RTCPeerConnection = class extends RTCPeerConnection {
  setRemoteDescription({type, sdp}) {
    const away = sdp.replace(/^(a=candidate:\\S+ \\d+ \\S+ \\d+) \\S+ /gm, "$1 192.0.2.1 ");
    return super.setRemoteDescription({type, sdp: window.blocked ? away : sdp});
  }
};
"""


async def test_where_the_media_port_is_blocked_the_room_is_told_what_to_open(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    operator = await sit(demo.urls["operator"], *SMALL, script=BLOCKED)
    await operator.press("#join")
    told = operator.at("#media-banner")
    await expect(told).to_contain_text(
        re.compile(r"mạng này chặn cổng \d+\..* mở cổng \d+ tới 192\.0\.2\.1: UDP")
    )
    # Nothing is said of a line that never was, here or at the desk.
    await expect(operator.at("#uplink")).to_be_hidden()
    await expect(operator.at("#downlink")).to_be_hidden()
    desk = await sit(demo.urls["moderator"])
    await desk.press("#lines-button")
    row = desk.at("#lines > li", "Khoái Châu")
    await expect(row).to_contain_text("máy chủ không nhận được gì")
    await expect(row).to_contain_text("Không nhận hình")
    await desk.page.context.close()
    # It stays while the page tries again and again.
    await operator.sees("#stage", "Mất kết nối hình, đang nối lại…")
    await expect(told).to_be_visible()

    await operator.page.evaluate("blocked = false")
    await operator.sees("#publish-state", "Đang gửi hình và tiếng")
    await operator.frames("#stage", 5)
    await expect(told).to_be_hidden()
