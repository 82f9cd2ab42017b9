"""Strict decoding of what a client sends. Everything wrong with it is ``Invalid``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from server.errors import N_, Invalid
from server.protocol import COMMANDS, INTERNAL, MEDIA_REQUESTS, Command, MediaRequest

Key = Annotated[str, Meta(min_length=1, max_length=80)]
MAX_COMMAND_BYTES = 900_000
"""Of one command as JSON; the transport refuses more than ``MAX_MESSAGE_BYTES`` anyway."""
MAX_MESSAGE_BYTES = 1_000_000
MOST_REMEMBERED, MOST_REMEMBERED_BYTES = 256, 200
"""Commands, and of each."""

_DECODERS: dict[str, msgspec.json.Decoder[Command | MediaRequest]] = {
    name: msgspec.json.Decoder(kind)
    for name, kind in {**COMMANDS, **MEDIA_REQUESTS}.items()
    if kind not in INTERNAL
}
_OF_COMMANDS: dict[bytes, msgspec.json.Decoder[Command]] = {
    name.encode(): msgspec.json.Decoder(kind)
    for name, kind in COMMANDS.items()
    if kind not in INTERNAL
}
_KEY = msgspec.json.Decoder(Key)
_array = msgspec.json.Decoder(list[Raw])
_name = msgspec.json.Decoder(str)


class NoCommand(ValueError):
    """Not even an array that begins with a name."""


class Hello(msgspec.Struct, frozen=True):
    """What a client says when it connects (``auth``); other fields are let be."""

    seat: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    since: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    page: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{8,40}$")] | None = None
    listens: bool = False


def decode_hello(auth: object) -> Hello:
    """Raises: Invalid."""
    try:
        return msgspec.convert(auth, Hello)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise Invalid() from error


def cut(text: str) -> tuple[str, Sequence[Raw] | None]:
    """The name of ``[name, payload, key]``, and what stands behind it as it came; None where that is no
    Unicode text. Raises: NoCommand."""
    try:
        return _parts(text)
    except (ValueError, RecursionError) as error:
        raise NoCommand() from error


def _parts(text: str) -> tuple[str, Sequence[Raw] | None]:
    try:
        name, *arguments = _array.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        # Half of a surrogate pair is JSON, though no text: browsers send it as it was typed.
        name = json.loads(text)[0]
        if not isinstance(name, str):
            raise
        return name, None
    return _name.decode(name), arguments


def decode(type_: str, arguments: Sequence[Raw] | None) -> tuple[Command | MediaRequest, str]:
    """The command (or request to the media worker) and its key, straight from their JSON.

    ``arguments`` are (payload, key) as they came; None where they are no Unicode text.

    Raises: Invalid for an unknown or internal name, unknown fields, wrong types, anything too long,
    text that cannot be stored (U+0000, lone surrogates).
    """
    decoder = _DECODERS.get(type_)
    if decoder is None:
        raise Invalid(N_("Máy chủ không biết lệnh này. Hãy tải lại trang."))
    if arguments is None or len(arguments) != 2:
        raise Invalid()
    payload, key = bytes(arguments[0]), bytes(arguments[1])
    if len(payload) > MAX_COMMAND_BYTES or _holds_null(payload + key):
        raise Invalid()
    try:
        return decoder.decode(payload), _KEY.decode(key)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Invalid() from error


class Plain:
    """Remembers what commands as most come (``intake.Sent``) decode to: hundreds send the same."""

    def __init__(self) -> None:
        self._known: dict[bytes, Command] = {}

    def decode(self, head: bytes) -> Command | None:
        """``["{name}",{payload},``; None where it is no right command, or a request, for ``decode`` to say
        what it is."""
        command = self._known.get(head)
        if command is None:
            name, _, payload = head[2:-1].partition(b'",')
            decoder = _OF_COMMANDS.get(name)
            if decoder is None:
                return None
            try:
                command = decoder.decode(payload)
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                return None
            if len(head) <= MOST_REMEMBERED_BYTES:
                if len(self._known) >= MOST_REMEMBERED:
                    self._known.clear()
                self._known[head] = command
        return command


def _holds_null(text: bytes) -> bool:
    """U+0000 can stand in JSON as an escape alone; PostgreSQL cannot store it."""
    return b"\\u0000" in text and b"\\u0000" in text.replace(rb"\\", b"")
