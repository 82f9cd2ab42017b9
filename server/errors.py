"""The tree of errors that a client may see: stable code, safe message, HTTP status.

A message is a Vietnamese sentence that says what happened and what to do; it is translated
for the reader where it is shown (``gettext(error.message) % error.values``). Nothing else of
an exception ever reaches a client.
"""

from __future__ import annotations

import math


def N_(text: str) -> str:
    """Mark ``text`` for the translation catalogue and return it unchanged."""
    return text


class DomainError(Exception):
    """A command or request that is refused, with nothing changed.

    ``code`` is stable and meant for programs; ``message`` is meant for people, with
    ``%(name)s`` places that ``values`` fill.
    """

    code = "refused"
    status = 400
    message = N_("Không thực hiện được thao tác này.")

    def __init__(
        self, message: str | None = None, *, retry_after_s: float | None = None, **values: object
    ) -> None:
        self.message = message if message is not None else type(self).message
        self.values = values
        self.retry_after_s = retry_after_s
        super().__init__(self.code)


class Invalid(DomainError):
    """The input itself is wrong: unknown name, wrong type, too long."""

    code = "invalid"
    message = N_(
        "Dữ liệu gửi lên không hợp lệ: quá dài, hoặc có chỗ máy chủ không hiểu. Hãy xem lại, hoặc tải "
        "lại trang rồi thử lại."
    )


class Unauthenticated(DomainError):
    """Nobody is known behind this connection, or the seat was revoked."""

    code = "unauthenticated"
    status = 401
    message = N_(
        "Phiên này đã hết hạn hoặc đã bị ban tổ chức thu hồi. Hãy vào lại bằng mã hội nghị hoặc tài "
        "khoản, hoặc xin ban tổ chức đường dẫn mới."
    )


class Forbidden(DomainError):
    """Known, but not allowed to do this to that object."""

    code = "forbidden"
    status = 403
    message = N_("Bạn không có quyền thực hiện thao tác này.")


class NotFound(DomainError):
    """No such object, or none that this actor may know of."""

    code = "not_found"
    status = 404
    message = N_("Không tìm thấy nội dung này.")


class Conflict(DomainError):
    """Allowed in general, but not in the present state."""

    code = "conflict"
    status = 409
    message = N_("Trạng thái đã thay đổi. Hãy xem lại rồi thử lại.")


class SlowDown(DomainError):
    """Too many; ``retry_after_s`` says when to try again, and so does the sentence by ``%(seconds)d``."""

    code = "slow_down"
    status = 429
    message = N_("Thao tác quá nhanh. Hãy thử lại sau %(seconds)d giây.")

    def __init__(
        self, message: str | None = None, *, retry_after_s: float, **values: object
    ) -> None:
        seconds = max(1, math.ceil(retry_after_s))
        super().__init__(message, retry_after_s=retry_after_s, seconds=seconds, **values)


class Unavailable(DomainError):
    """The server cannot do it at the moment; the same command may be sent again."""

    code = "unavailable"
    status = 503
    message = N_(
        "Máy chủ đang bận, chưa làm được việc này. Những gì đã xác nhận không mất. "
        "Hãy thử lại sau vài giây."
    )


class Broken(DomainError):
    """The server itself fails at it, and would again. Nothing was changed; the log says why."""

    code = "broken"
    status = 500
    message = N_("Máy chủ gặp lỗi. Lỗi đã được ghi lại; hãy thử lại sau giây lát.")
