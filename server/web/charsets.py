"""Forms are UTF-8, as browsers send them.

aiohttp decodes a form by whatever charset it names, on the loop; by some (``idna``) a megabyte takes
minutes, in which nobody else is heard.
"""

from __future__ import annotations

from aiohttp import BodyPartReader, MultipartReader, web

from server.errors import Invalid

_NAMES = ("utf-8", "utf8", "us-ascii")


class _Part(BodyPartReader):
    """One whose text is UTF-8, whatever it says."""

    def get_charset(self, default: str) -> str:
        return "utf-8"


def only_utf_8() -> None:
    """Read the parts of every form as that."""
    MultipartReader.part_reader_cls = _Part


def require_utf_8(request: web.Request) -> None:
    """Raises: Invalid where a body says that it is anything else."""
    if (request.charset or _NAMES[0]).lower() not in _NAMES:
        raise Invalid()
