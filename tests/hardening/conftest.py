"""What these tests take from the others."""

from tests.live.conftest import venue  # noqa: F401
from tests.web.conftest import controls, house, rates  # noqa: F401
