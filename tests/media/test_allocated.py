"""Which layers a publisher says that it sends (``video-layers-allocation00``)."""

from __future__ import annotations

from collections.abc import Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.media import allocated


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ("00", set()),
        ("01 00 9601", {0}),  # 150 kbit/s of the first of them, as Chromium writes it
        ("51 00 9601 f403", {0, 1}),  # in the second one's stream
        ("21 00 9601 f403 dc0b", {0, 1, 2}),
        ("21 00 9601 f403 dc0b 013f 00b3 0f 027f 0167 0f 04ff 02cf 0f", {0, 1, 2}),  # and sizes
        ("20 10 10 00 9601 dc0b", {0, 2}),
        ("10 01 00 f403", {1}),
        ("30 10 01 00 9601 dc0b", {0, 3}),
        ("", None),
        ("10", None),
        ("20 10", None),
    ],
)
def test_the_streams_that_are_sent_are_read(value: str, places: Set[int] | None) -> None:
    assert allocated.sent(bytes.fromhex(value)) == places


@given(st.binary(max_size=40))
def test_whatever_comes_is_read(value: bytes) -> None:
    found = allocated.sent(value)
    assert found is None or found <= {0, 1, 2, 3}
