"""An uploaded table as rows of text, whatever the file is called: XLSX, XLS, ODS or CSV.

What a file is, is told from its first bytes. Text is UTF-8, UTF-16 or, failing these,
Windows-1258 (Vietnamese). Cells come in normal form C; what a cell held before is kept beside it
by whoever compares. Numbers lose nothing but a needless ``.0``.
"""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import xlsxwriter
from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from server.errors import N_, Invalid

MAX_ROWS = 50_000
HEAD_ROWS = 20
"""rows that may stand above the names of the columns (a title, a logo's place)"""
MAX_COLUMNS = 100
MAX_UNPACKED_BYTES = 200 * 1000**2
_ZIP, _OLE = b"PK\x03\x04", bytes.fromhex("D0CF11E0A1B11AE1")
_DELIMITERS = ",;\t|"

_EMPTY = N_("Tệp trống.")
_UNKNOWN = N_("Tệp này không phải bảng tính. Hãy dùng tệp Excel (.xlsx, .xls), .ods hoặc .csv.")
_BROKEN = N_("Không đọc được bảng tính này: tệp hỏng hoặc không đúng định dạng.")
_LOCKED = N_("Bảng tính này có mật khẩu. Hãy bỏ mật khẩu rồi gửi lại.")
_LONG = N_("Bảng có hơn %(most)s dòng. Hãy chia thành nhiều tệp.")

Table = list[list[str]]


def read_table(data: bytes) -> Table:
    """The first sheet that holds something. Every row has the same length.

    Raises: Invalid where it is no table, broken, locked, empty or too long.
    """
    if not data.strip():
        raise Invalid(_EMPTY)
    rows = _workbook(data) if data.startswith((_ZIP, _OLE)) else _csv(_decode(data))
    if not any(any(row) for row in rows):
        raise Invalid(_EMPTY)
    if len(rows) > MAX_ROWS + HEAD_ROWS:
        raise Invalid(_LONG, most=MAX_ROWS)
    width = min(MAX_COLUMNS, max(map(len, rows)))
    return [row[:width] + [""] * (width - len(row)) for row in rows]


def _workbook(data: bytes) -> Table:
    if data.startswith(_ZIP):
        _check_archive(data)
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
            for number in range(len(book.sheet_names)):
                sheet = book.get_sheet_by_index(number)
                limit = MAX_ROWS + HEAD_ROWS + 1
                rows = [
                    [_text(cell) for cell in row]
                    for row in sheet.to_python(skip_empty_area=False, nrows=limit)
                ]
                if any(any(row) for row in rows):
                    return rows
    except PasswordError as error:
        raise Invalid(_LOCKED) from error
    except (CalamineError, OSError, ValueError) as error:
        raise Invalid(_BROKEN) from error
    raise Invalid(_EMPTY)


def _check_archive(data: bytes) -> None:
    """An archive that would unpack to gigabytes is not opened."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Invalid(_BROKEN) from error
    if unpacked > MAX_UNPACKED_BYTES:
        raise Invalid(_BROKEN)


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, datetime | date):
        return f"{cell:%d/%m/%Y}"
    return str(cell)


def _decode(data: bytes) -> str:
    """Raises: Invalid where it is not text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    elif b"\0" in data[:4096]:
        # Latin letters in UTF-16 leave every other byte empty.
        even, odd = data[:4096:2].count(0), data[1:4096:2].count(0)
        encodings = ["utf-16-le" if odd > even else "utf-16-be"]
    else:
        encodings = ["utf-8-sig", "cp1258"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(ord(char) < 32 and char not in "\t\r\n\f" for char in text):
            return text
    raise Invalid(_UNKNOWN)


def _csv(text: str) -> Table:
    sample = [line for line in text.splitlines()[:HEAD_ROWS] if line.strip()]
    if sample and sample[0].lower().startswith("sep=") and len(sample[0]) == 5:
        delimiter, text = sample[0][4], text.split("\n", 1)[1]
    else:
        delimiter = _delimiter(sample)
    if text.lstrip()[:5] in ("%PDF-", "{\\rtf") or text.lstrip().startswith(("<", "{", "[")):
        raise Invalid(_UNKNOWN)
    rows: Table = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            rows.append(row)
            if len(rows) > MAX_ROWS + HEAD_ROWS:
                break
    except csv.Error as error:
        raise Invalid(_BROKEN) from error
    return rows


def _delimiter(sample: Sequence[str]) -> str:
    """The sign that splits the most lines alike, by number of columns."""
    best, most = ",", 0
    for delimiter in _DELIMITERS:
        widths = Counter(line.count(delimiter) for line in sample if delimiter in line)
        score = max((width * lines for width, lines in widths.items()), default=0)
        if score > most:
            best, most = delimiter, score
    return best


def write_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str | int]],
    widths: Sequence[int],
    title: str = "",
    more: dict[str, Sequence[Sequence[str]]] | None = None,
) -> bytes:
    """An XLSX file. Texts are written as texts: none can begin a formula, and codes keep zeros."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False})
    bold = book.add_format({"bold": True, "bg_color": "#E6ECF7", "border": 1, "text_wrap": True})
    plain = book.add_format({"num_format": "@"})
    sheet = book.add_worksheet(title[:31] or None)
    for column, (name, width) in enumerate(zip(header, widths, strict=True)):
        sheet.set_column(column, column, width, plain)
        sheet.write_string(0, column, name, bold)
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row):
            if isinstance(value, int):
                sheet.write_number(number, column, value)
            else:
                sheet.write_string(number, column, value, plain)
    sheet.freeze_panes(1, 0)
    for name, lines in (more or {}).items():
        extra = book.add_worksheet(name[:31])
        extra.set_column(0, 3, 40, plain)
        for number, line in enumerate(lines):
            for column, text in enumerate(line):
                extra.write_string(number, column, text, plain)
    book.close()
    return out.getvalue()
