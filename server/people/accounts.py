"""Accounts and their sign-ins. Passwords come compared and hashed (``passwords``)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from server.errors import N_, Conflict, Invalid, NotFound, Unauthenticated
from server.people import tries
from server.people.models import Account, SignIn
from server.people.names import folded, nfc
from server.people.passwords import NOBODYS_HASH, Tried
from server.people.seats import revoke
from server.people.tokens import hash_token, new_token
from server.permissions import Actor, Role

SIGN_IN_LASTS = timedelta(days=14)

_WRONG = N_("Tên đăng nhập hoặc mật khẩu không đúng.")
_USERNAME = re.compile(r"[\w.@+-]{1,100}")


def normalise_username(username: str) -> str:
    """Sign-in names do not tell upper from lower case."""
    return folded(username)


def find_account(session: Session, username: str) -> Account | None:
    """The account of that sign-in name that is not disabled."""
    query = select(Account).where(
        Account.username == normalise_username(username), Account.disabled_at.is_(None)
    )
    return session.scalar(query)


def create_account(
    session: Session,
    username: str,
    password_hash: str,
    now: datetime,
    *,
    name: str = "",
    is_organiser: bool = False,
    must_change: bool = False,
) -> Account:
    """Make an account. Raises: Invalid (no user name), Conflict (taken)."""
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


def _subject(username: str) -> str:
    return f"password:{normalise_username(username)[:100]}"


def hash_for(session: Session, username: str, now: datetime) -> str:
    """What a password that is given with this name is compared with: an unknown name's is nobody's, and
    takes as long. Raises: SlowDown after wrong tries for that name.
    """
    tries.check(session, _subject(username), tries.PASSWORD, now)
    account = find_account(session, username)
    return account.password_hash if account else NOBODYS_HASH


def sign_in_by_password(session: Session, username: str, tried: Tried, now: datetime) -> str:
    """Sign in; gives the token for the cookie.

    Raises: Unauthenticated; SlowDown after wrong tries for that name, also while it was compared.
    """
    subject = _subject(username)
    tries.check(session, subject, tries.PASSWORD, now)
    account = find_account(session, username)
    if account is None or not tried.right or account.password_hash != tried.against:
        raise tries.refuse(session, subject, tries.PASSWORD, now, Unauthenticated(_WRONG))
    tries.forget(session, subject)
    if tried.anew is not None:
        account.password_hash = tried.anew
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
    session: Session, account_id: int, tried: Tried, now: datetime, *, keep: str | None = None
) -> None:
    """Set the new password that came with the old one, and end every other sign-in; ``keep`` is the token
    of the present one.

    Raises: Unauthenticated (wrong old password), SlowDown.
    """
    account = session.get(Account, account_id)
    if account is None:
        raise NotFound()
    subject = _subject(account.username)
    tries.check(session, subject, tries.PASSWORD, now)
    if not tried.right or tried.anew is None or account.password_hash != tried.against:
        error = Unauthenticated(N_("Mật khẩu hiện tại không đúng."))
        raise tries.refuse(session, subject, tries.PASSWORD, now, error)
    account.password_hash = tried.anew
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
