"""Passwords and sign-ins."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy.orm import Session

from server.errors import Conflict, Invalid, SlowDown, Unauthenticated
from server.people import accounts, passwords, tries
from server.people.models import SignIn
from tests.play import NOON

PASSWORD = "mười hai điểm cầu"


@pytest.fixture
def cheap(cheap_passwords: None) -> str:
    """A hash of PASSWORD."""
    return passwords.hash_password(PASSWORD)


def sign_in(session: Session, name: str, password: str, now: datetime) -> str:
    """As the form does it: looked up, compared, and then written."""
    tried = passwords.compare(accounts.hash_for(session, name, now), password)
    return accounts.sign_in_by_password(session, name, tried, now)


def test_a_password_signs_in_until_it_expires(session: Session, cheap: str) -> None:
    hoa = accounts.create_account(session, "Hoa", cheap, NOON, name="Cô Hoa")
    token = sign_in(session, " HOA", PASSWORD, NOON)
    assert accounts.account_of_sign_in(session, token, NOON).id == hoa.id
    assert token not in session.query(SignIn).one().token_hash
    with pytest.raises(Unauthenticated):
        accounts.account_of_sign_in(session, token, NOON + accounts.SIGN_IN_LASTS)
    accounts.sign_out(session, token, NOON)
    with pytest.raises(Unauthenticated):
        accounts.account_of_sign_in(session, token, NOON)


def test_short_passwords_and_taken_names_are_refused(session: Session, cheap: str) -> None:
    with pytest.raises(Invalid):
        passwords.hash_password("123456789")
    assert passwords.hash_password("1234567890")
    accounts.create_account(session, "hoa", cheap, NOON)
    with pytest.raises(Conflict):
        accounts.create_account(session, "HOA", cheap, NOON)


def test_wrong_passwords_make_one_wait_even_for_the_right_one(session: Session, cheap: str) -> None:
    accounts.create_account(session, "hoa", cheap, NOON)
    meanwhile = passwords.compare(accounts.hash_for(session, "hoa", NOON), PASSWORD)
    for _ in range(tries.PASSWORD.free):
        with pytest.raises(Unauthenticated):
            sign_in(session, "hoa", "sai mật khẩu", NOON)
    with pytest.raises(SlowDown) as slow:
        sign_in(session, "hoa", PASSWORD, NOON)
    assert slow.value.retry_after_s == tries.PASSWORD.wait_s
    with pytest.raises(
        SlowDown
    ):  # tries that come all at once are no more than one after the other
        accounts.sign_in_by_password(session, "hoa", meanwhile, NOON)
    later = NOON + timedelta(seconds=tries.PASSWORD.wait_s)
    assert sign_in(session, "hoa", PASSWORD, later)
    with pytest.raises(Unauthenticated):  # the count began anew
        sign_in(session, "hoa", "sai mật khẩu", later)


def test_an_unknown_name_is_refused_in_the_same_words(session: Session, cheap: str) -> None:
    accounts.create_account(session, "hoa", cheap, NOON)
    said = []
    for name in ("hoa", "ai đó"):
        with pytest.raises(Unauthenticated) as refused:
            sign_in(session, name, "sai mật khẩu", NOON)
        said.append(refused.value.message)
    assert said[0] == said[1]


def test_a_new_password_ends_the_other_sign_ins(session: Session, cheap: str) -> None:
    hoa = accounts.create_account(session, "hoa", cheap, NOON, must_change=True)
    here = accounts.sign_in(session, hoa, NOON)
    elsewhere = accounts.sign_in(session, hoa, NOON)
    wrong = passwords.replace(cheap, "không phải", "một mật khẩu mới")
    with pytest.raises(Unauthenticated):
        accounts.change_password(session, hoa.id, wrong, NOON)
    for unfit in (PASSWORD, "ngắn"):
        with pytest.raises(Invalid):
            passwords.replace(cheap, PASSWORD, unfit)
    right = passwords.replace(cheap, PASSWORD, "một mật khẩu mới")
    accounts.change_password(session, hoa.id, right, NOON, keep=here)
    with pytest.raises(Unauthenticated):  # it is no longer the one that it was compared with
        accounts.change_password(session, hoa.id, right, NOON, keep=here)
    assert accounts.account_of_sign_in(session, here, NOON).must_change is False
    with pytest.raises(Unauthenticated):
        accounts.account_of_sign_in(session, elsewhere, NOON)


def test_a_disabled_account_is_nobody(session: Session, cheap: str) -> None:
    hoa = accounts.create_account(session, "hoa", cheap, NOON)
    token = accounts.sign_in(session, hoa, NOON)
    accounts.disable(session, hoa, NOON)
    with pytest.raises(Unauthenticated):
        accounts.account_of_sign_in(session, token, NOON)
    with pytest.raises(Unauthenticated):
        sign_in(session, "hoa", PASSWORD, NOON)


def test_waits_double_up_to_a_bound_and_are_forgotten() -> None:
    limit = tries.Limit(free=2, wait_s=10, longest_wait_s=35, memory_s=100)
    assert [tries.wait_s(limit, n, 0) for n in range(6)] == [0, 0, 10, 20, 35, 35]
    assert tries.wait_s(limit, 3, 15) == 5
    assert tries.wait_s(limit, 3, 20) == 0
    assert tries.wait_s(limit, 99, 100) == 0


def test_an_unknown_name_costs_as_much_as_a_wrong_password() -> None:
    nobodys, real = passwords.NOBODYS_HASH, passwords.hash_password(PASSWORD)
    assert extract_parameters(nobodys) == extract_parameters(real)
    assert not passwords.compare(nobodys, PASSWORD).right


def test_a_hash_that_cost_less_than_today_is_replaced(session: Session) -> None:
    old = PasswordHasher(time_cost=1).hash(PASSWORD)
    accounts.create_account(session, "hoa", old, NOON)
    assert sign_in(session, "hoa", PASSWORD, NOON)
    kept = accounts.hash_for(session, "hoa", NOON)
    assert kept != old and passwords.compare(kept, PASSWORD) == passwords.Tried(kept, True)
