"""Compiled code beside its Python (``setup.py``), where a compiler could build it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from cffi import FFI  # type: ignore[import-untyped]

log = logging.getLogger(__name__)


def load(folder: Path, name: str, declarations: str, version: int) -> tuple[FFI, Any] | None:
    """The library ``name`` in ``folder``, None where it was not built.

    It has a function ``diemcau_version``; one built of another ``version`` than these
    ``declarations`` is not used.
    """
    found = next(folder.glob(f"{name}.*"), None)
    if found is None:
        return None
    ffi = FFI()
    ffi.cdef("int diemcau_version(void);" + declarations)
    try:
        code = ffi.dlopen(str(found))
        if code.diemcau_version() != version:
            raise OSError("it was built of another version")
    except (OSError, AttributeError) as error:
        log.warning("compiled code is not used: %s: %s", name, error)
        return None
    return ffi, code
