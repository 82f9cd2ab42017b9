"""Accounts: passwords (argon2id, RFC 9106) and sign-ins."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from server.errors import N_, Conflict, Invalid, NotFound, Unauthenticated
from server.people import tries
from server.people.models import Account, SignIn
from server.people.names import folded, nfc
from server.people.seats import revoke
from server.people.tokens import hash_token, new_token
from server.permissions import Actor, Role

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 200
SIGN_IN_LASTS = timedelta(days=14)

_HASHER = PasswordHasher()  # the library's defaults are RFC 9106's low-memory choice


def _nobodys_hash() -> str:
    """A hash that no password has, as costly to compare with as any: none is made at each start."""
    cost = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    salt, tag = (
        b64encode(bytes(n)).decode().rstrip("=") for n in (_HASHER.salt_len, _HASHER.hash_len)
    )
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${tag}"


_NOBODYS_HASH = _nobodys_hash()

_WRONG = N_("Tên đăng nhập hoặc mật khẩu không đúng.")
_TOO_SHORT = N_("Mật khẩu cần có ít nhất %(length)d ký tự.")


_USERNAME = re.compile(r"[\w.@+-]{1,100}")


def normalise_username(username: str) -> str:
    """Sign-in names do not tell upper from lower case."""
    return folded(username)


def hash_password(password: str) -> str:
    """Raises: Invalid where it is shorter than ten characters (or absurdly long)."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise Invalid(_TOO_SHORT, length=MIN_PASSWORD_LENGTH)
    if len(password) > MAX_PASSWORD_LENGTH:
        raise Invalid(N_("Mật khẩu quá dài."))
    return _HASHER.hash(password)


def _is_right(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password[: MAX_PASSWORD_LENGTH + 1])
    except (VerificationError, InvalidHashError):
        return False


def find_account(session: Session, username: str) -> Account | None:
    """The account of that sign-in name that is not disabled."""
    query = select(Account).where(
        Account.username == normalise_username(username), Account.disabled_at.is_(None)
    )
    return session.scalar(query)


def create_account(
    session: Session,
    username: str,
    password: str,
    now: datetime,
    *,
    name: str = "",
    is_organiser: bool = False,
    must_change: bool = False,
) -> Account:
    """Make an account. Raises: Invalid (password, no user name), Conflict (taken)."""
    hashed = hash_password(password)
    return add_account(
        session,
        username,
        hashed,
        now,
        name=name,
        is_organiser=is_organiser,
        must_change=must_change,
    )


def add_account(
    session: Session,
    username: str,
    password_hash: str,
    now: datetime,
    *,
    name: str = "",
    is_organiser: bool = False,
    must_change: bool = False,
) -> Account:
    """Make one with the password of a hash. Raises: Invalid (no user name), Conflict (taken)."""
    key = normalise_username(username)
    if not key:
        raise Invalid(N_("Hãy nhập tên đăng nhập."))
    if not _USERNAME.fullmatch(key):
        raise Invalid(N_("Tên đăng nhập chỉ gồm chữ, số và các dấu . _ - @ +, không có dấu cách."))
    if session.scalar(select(Account.id).where(Account.username == key)) is not None:
        raise Conflict(N_("Tên đăng nhập “%(username)s” đã có người dùng."), username=key)
    account = Account(
        username=key,
        name=nfc(name) or key,
        password_hash=password_hash,
        is_organiser=is_organiser,
        must_change=must_change,
        created_at=now,
    )
    session.add(account)
    session.flush()
    return account


def verify_password(session: Session, username: str, password: str, now: datetime) -> str:
    """Sign in; gives the token for the cookie. An unknown name takes as long as a wrong password.

    Raises: Unauthenticated; SlowDown after wrong tries for that name.
    """
    subject = f"password:{normalise_username(username)[:100]}"
    tries.check(session, subject, tries.PASSWORD, now)
    account = find_account(session, username)
    right = _is_right(account.password_hash if account else _NOBODYS_HASH, password)
    if account is None or not right:
        raise tries.refuse(session, subject, tries.PASSWORD, now, Unauthenticated(_WRONG))
    tries.forget(session, subject)
    if _HASHER.check_needs_rehash(account.password_hash):
        account.password_hash = _HASHER.hash(password)
    return sign_in(session, account, now)


def sign_in(session: Session, account: Account, now: datetime) -> str:
    """A new sign-in for ``account``, whoever vouches for it; gives its token."""
    token = new_token()
    session.add(
        SignIn(
            token_hash=hash_token(token),
            account_id=account.id,
            created_at=now,
            expires_at=now + SIGN_IN_LASTS,
        )
    )
    session.flush()
    return token


def account_of_sign_in(session: Session, token: str, now: datetime) -> Account:
    """Who is signed in with ``token``. Raises: Unauthenticated."""
    query = (
        select(Account)
        .join(SignIn, SignIn.account_id == Account.id)
        .where(
            SignIn.token_hash == hash_token(token),
            SignIn.revoked_at.is_(None),
            SignIn.expires_at > now,
            Account.disabled_at.is_(None),
        )
    )
    account = session.scalar(query)
    if account is None:
        raise Unauthenticated(N_("Bạn chưa đăng nhập hoặc phiên đã hết hạn. Hãy đăng nhập lại."))
    return account


def actor_of_account(account: Account) -> Actor:
    """An account outside any conference: it may make one where ``is_organiser``."""
    return Actor(
        holder=f"account:{account.id}",
        role=Role.ORGANISER,
        account_id=account.id,
        name=account.name,
    )


def change_password(
    session: Session, account_id: int, old: str, new: str, now: datetime, *, keep: str | None = None
) -> None:
    """Set a new password and end every other sign-in; ``keep`` is the token of the present one.

    Raises: Invalid (too short, same as before), Unauthenticated (wrong old password), SlowDown.
    """
    account = session.get(Account, account_id)
    if account is None:
        raise NotFound()
    subject = f"password:{account.username[:100]}"
    tries.check(session, subject, tries.PASSWORD, now)
    if not _is_right(account.password_hash, old):
        error = Unauthenticated(N_("Mật khẩu hiện tại không đúng."))
        raise tries.refuse(session, subject, tries.PASSWORD, now, error)
    if old == new:
        raise Invalid(N_("Mật khẩu mới phải khác mật khẩu hiện tại."))
    account.password_hash = hash_password(new)
    account.must_change = False
    others = update(SignIn).where(SignIn.account_id == account.id, SignIn.revoked_at.is_(None))
    if keep is not None:
        others = others.where(SignIn.token_hash != hash_token(keep))
    session.execute(others.values(revoked_at=now))
    tries.forget(session, subject)


def sign_out(session: Session, token: str, now: datetime) -> None:
    """End a sign-in; an unknown token changes nothing."""
    session.execute(
        update(SignIn)
        .where(SignIn.token_hash == hash_token(token), SignIn.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def disable(session: Session, account: Account, now: datetime) -> None:
    """Take an account out of use: no sign-in and no seat of it works any more."""
    account.disabled_at = now
    session.execute(
        update(SignIn)
        .where(SignIn.account_id == account.id, SignIn.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    revoke(session, now, account_id=account.id)
