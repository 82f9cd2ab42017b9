"""A page in a network that lets no WebSocket through is served by long polling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, Visitor

pytestmark = pytest.mark.browser

REFUSED = """
window.WebSocket = class {
  constructor() {
    setTimeout(() => { this.onerror(new Event("error")); this.onclose(new CloseEvent("close")); });
  }
  close() {}
};
"""
"""as where a proxy answers the upgrade with an error"""
SWALLOWED = """
window.WebSocket = class {
  constructor() { setTimeout(() => this.onopen()); }
  send() {}
  close() { setTimeout(() => this.onclose(new CloseEvent("close"))); }
};
"""
"""as where a firewall takes the connection and lets nothing through"""


@pytest.mark.parametrize("hindered", [REFUSED, SWALLOWED], ids=["refused", "swallowed"])
async def test_a_question_gets_through_without_websockets(
    demo: Demo, sit: Callable[..., Any], hindered: str
) -> None:
    room: Visitor = await sit(demo.urls["operator"], *SMALL, script=hindered)
    await room.press("#join-silent")
    await room.press("#tab-ask")
    await room.at("#ask-text").fill("Mạng ở đây không cho qua thì hỏi thế nào?")
    await room.press("#ask-button")
    await expect(room.at("#ask-text")).to_have_value("")
    await expect(room.at("#connection-banner")).to_be_hidden()
