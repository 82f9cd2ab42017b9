"""Strict decoding of what a client sends. Everything wrong with it is ``Invalid``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.errors import N_, Invalid
from server.protocol import COMMANDS, INTERNAL, MEDIA_REQUESTS, Command, MediaRequest

Key = Annotated[str, Meta(min_length=1, max_length=80)]
MAX_COMMAND_BYTES = 900_000
"""Of one command as JSON; the transport refuses more than ``MAX_MESSAGE_BYTES`` anyway."""
MAX_MESSAGE_BYTES = 1_000_000

_TYPES: dict[str, type[Command] | type[MediaRequest]] = {
    **{name: kind for name, kind in COMMANDS.items() if kind not in INTERNAL},
    **MEDIA_REQUESTS,
}


class Hello(msgspec.Struct, frozen=True):
    """What a client says when it connects (``auth``); other fields are let be."""

    seat: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    since: Annotated[int, Meta(ge=0, lt=2**53)] | None = None


def decode_hello(auth: object) -> Hello:
    """Raises: Invalid."""
    hello: Hello = _convert(auth, Hello)
    return hello


def decode(type_: str, arguments: tuple[Any, ...]) -> tuple[Command | MediaRequest, str]:
    """The command (or request to the media worker) and its key.

    Raises: Invalid for an unknown or internal name, unknown fields, wrong types, anything too long,
    text that cannot be stored (U+0000, lone surrogates).
    """
    kind = _TYPES.get(type_)
    if kind is None:
        raise Invalid(N_("Máy chủ không biết lệnh này. Hãy tải lại trang."))
    if len(arguments) != 2:
        raise Invalid()
    payload, key = arguments
    command = _convert(payload, kind)
    _require_storable([payload, key])
    return command, _convert(key, Key)


def _convert(value: object, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise Invalid() from error


def _require_storable(value: object) -> None:
    try:
        encoded = msgspec.json.encode(value)
    except (UnicodeEncodeError, RecursionError, TypeError, ValueError) as error:
        raise Invalid() from error
    if len(encoded) > MAX_COMMAND_BYTES or b"\\u0000" in encoded.replace(rb"\\", b""):
        raise Invalid()
