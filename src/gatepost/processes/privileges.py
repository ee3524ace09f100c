"""Giving up root's privileges, once the sockets are bound."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path


class NoSuchAccount(Exception):
    """A user or group that the system does not have."""


def become(user: str, group: str) -> None:
    """Be this user and group for good; empty names, and those that we have, change nothing.

    The group is the user's own when none is named.  Raises NoSuchAccount, and PermissionError for
    who is not root.
    """
    account = _account(user) if user else None
    number = _group(group) if group else account.pw_gid if account else os.getgid()
    if (account is None or account.pw_uid == os.getuid()) and number == os.getgid():
        return
    os.setgroups([])
    if account is not None:
        os.initgroups(account.pw_name, number)
    os.setresgid(number, number, number)
    if account is not None:
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


def _account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):  # it may hold what no name does
        raise NoSuchAccount(f"there is no user {name!r}") from None


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        raise NoSuchAccount(f"there is no group {name!r}") from None


def give_to(path: Path, user: str, group: str) -> None:
    """Let a file be of this user and group; empty names change nothing.

    A symbolic link is given itself, and not what it leads to: whoever may write to a directory
    could have any file of root's by a link in there.  Raises NoSuchAccount and OSError.
    """
    if os.getuid() != 0 or not (user or group):
        return
    account = _account(user) if user else None
    number = _group(group) if group else account.pw_gid if account else -1
    os.chown(path, account.pw_uid if account else -1, number, follow_symlinks=False)
