"""Made-up people with real Vietnamese name forms: family, middle, given. Nobody is meant by them."""

from __future__ import annotations

import random
import unicodedata

FAMILIES = (
    ("Nguyễn", 38), ("Trần", 11), ("Lê", 9), ("Phạm", 7), ("Hoàng", 5), ("Vũ", 5), ("Đỗ", 4),
    ("Đặng", 3), ("Bùi", 3), ("Đào", 3), ("Dương", 2), ("Lương", 2), ("Phan", 2), ("Đoàn", 2),
    ("Tạ", 1), ("Quách", 1), ("Chu", 1), ("Luyện", 1),
)  # fmt: skip
WOMEN = (
    ("Thị", "Thị", "Thị Thu", "Thị Hồng", "Thị Thanh", "Thị Minh", "Ngọc", "Thuỳ", "Phương"),
    ("Hương", "Lan", "Hoa", "Hạnh", "Nga", "Thảo", "Trang", "Yến", "Huyền", "Nhung", "Mai", "Dung",
     "Hằng", "Linh", "Oanh", "Thuý", "Vân", "Xuân", "Loan", "Ngân", "Bích", "Tuyết", "Quỳnh"),
)  # fmt: skip
MEN = (
    ("Văn", "Văn", "Đức", "Hữu", "Quang", "Minh", "Xuân", "Công", "Đình", "Tiến", "Mạnh", "Ngọc"),
    ("Hùng", "Dũng", "Cường", "Tuấn", "Nam", "Sơn", "Hải", "Thắng", "Long", "Quân", "Việt", "Đạt",
     "Hiếu", "Khánh", "Phúc", "Toàn", "Trung", "Bình", "Giang", "Huy", "Lâm", "Thịnh", "Vinh"),
)  # fmt: skip


def draw_name(chance: random.Random) -> str:
    """One full name in normal form C, given name last."""
    names, weights = zip(*FAMILIES, strict=True)
    middles, givens = WOMEN if chance.random() < 0.52 else MEN
    family = chance.choices(names, weights)[0]
    full = f"{family} {chance.choice(middles)} {chance.choice(givens)}"
    return unicodedata.normalize("NFC", full)
