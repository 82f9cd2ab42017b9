"""Why the operating system refused, in words for whoever runs the server."""

from __future__ import annotations

import errno
import socket

_WORDS = {
    errno.EACCES: "không đủ quyền",
    errno.EPERM: "không đủ quyền",
    errno.EROFS: "ổ đĩa chỉ cho đọc",
    errno.ENOSPC: "ổ đĩa đã đầy",
    errno.EDQUOT: "đã hết dung lượng được cấp",
    errno.ENOENT: "không có tệp hoặc thư mục này",
    errno.ENOTDIR: "một phần của đường dẫn không phải là thư mục",
    errno.EEXIST: "đã có một tệp cùng tên",
    errno.EISDIR: "đó là thư mục, không phải tệp",
    errno.EADDRINUSE: "chương trình khác đang dùng cổng này",
    errno.EADDRNOTAVAIL: "máy này không có địa chỉ đó",
    errno.EAFNOSUPPORT: "máy này không dùng loại địa chỉ đó",
}


def why(error: OSError) -> str:
    """Part of a Vietnamese sentence, without a full stop; the number where we have no words."""
    if isinstance(error, socket.gaierror):
        return "không tìm thấy địa chỉ này"
    return _WORDS.get(error.errno or 0, f"lỗi {error.errno} của hệ điều hành")
