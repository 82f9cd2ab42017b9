"""The Vietnamese order, search and addresses."""

from __future__ import annotations

import itertools
import unicodedata

import pytest

from server.people.codes import ALPHABET, draw_code, draw_pin, normalise_code
from server.people.names import LETTERS, nfc, search_key, slugify, sort_key, text_key


def in_order(*words: str) -> None:
    for before, after in itertools.pairwise(words):
        assert text_key(before) < text_key(after), (before, after)


def test_letters_have_the_order_of_the_alphabet() -> None:
    in_order(*LETTERS)


def test_tones_have_the_order_of_dictionaries() -> None:
    in_order("ma", "mà", "mả", "mã", "má", "mạ")
    in_order("mô", "mồ", "mổ", "mỗ", "mố", "mộ", "mơ")


def test_letters_count_before_tones_within_a_syllable() -> None:
    in_order("bạ", "ban", "bàn", "bang", "bă", "bân", "cá")


def test_a_syllable_counts_before_the_next() -> None:
    in_order("an phú", "àn", "án bình", "anh")


def test_people_go_by_their_given_name() -> None:
    names = [
        "Lê Văn Ân",
        "Trần Ánh",
        "Đỗ Thị An",
        "Nguyễn Văn An",
        "Dương An",
        "Bùi Đạt",
        "Vũ Dũng",
    ]
    assert sorted(names, key=sort_key) == [
        "Dương An",
        "Đỗ Thị An",
        "Nguyễn Văn An",
        "Trần Ánh",
        "Lê Văn Ân",
        "Vũ Dũng",
        "Bùi Đạt",
    ]


@pytest.mark.parametrize("name", ["Nguyễn Thị Hòa", "ĐỖ Ân", "x", ""])
def test_a_key_is_digits_alone_and_blind_to_the_normal_form(name: str) -> None:
    assert set(sort_key(name)) <= set("0123456789")
    assert sort_key(unicodedata.normalize("NFD", name)) == sort_key(name)
    assert sort_key(name.upper()) == sort_key(name.lower())


def test_both_ways_of_placing_a_tone_are_one_word() -> None:
    assert text_key("hoà") == text_key("hòa")


def test_search_finds_without_diacritics() -> None:
    assert search_key("  Đặng   Thị Ngọc Ánh ") == "dang thi ngoc anh"
    assert nfc("\u00d0ặng") == "Đặng", "eth, as some old lists have it"


def test_slugs() -> None:
    assert slugify("Điểm cầu Thị xã Hương Thủy (số 2)") == "diem-cau-thi-xa-huong-thuy-so-2"
    assert slugify("…") == ""
    assert len(slugify("a b " * 60)) <= 60


def test_nfc_makes_white_space_single() -> None:
    assert nfc("Nguye\u0302\u0303n\t An ") == "Nguyễn An"


def test_codes_are_normalised_and_keep_leading_zeros() -> None:
    assert normalise_code(" 00-12 ab.c ") == "0012ABC"
    assert normalise_code("e\u0301") == "É"


def test_drawn_codes_hold_no_letters_that_look_alike() -> None:
    codes = {draw_code() for _ in range(500)}
    assert len(codes) == 500
    assert set("".join(codes)) <= set(ALPHABET) and not set("01OIL") & set(ALPHABET)
    assert all(len(code) == 8 and normalise_code(code) == code for code in codes)
    assert all(len(pin) == 6 and pin.isdigit() for pin in (draw_pin() for _ in range(50)))
