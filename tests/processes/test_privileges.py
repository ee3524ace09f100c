"""Giving up root's privileges, in processes of their own; and giving files away."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gatepost.processes.privileges import NoSuchAccount, become, give_to

NOBODY = pwd.getpwnam("nobody")
NOGROUP = grp.getgrgid(NOBODY.pw_gid).gr_name
#: Another group than nobody's.
OTHER = next(group for group in grp.getgrall() if group.gr_gid not in (0, NOBODY.pw_gid))

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

#: Becomes whom it is told to, and says who it is then and what it can still do.
PROGRAM = """\
import json, os, sys
from gatepost.processes.privileges import NoSuchAccount, become

uid, gid, groups, user, group = json.loads(sys.argv[1])
os.setgroups(groups)
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
trouble = ""
try:
    become(user, group)
except (NoSuchAccount, PermissionError) as error:
    trouble = type(error).__name__
became = [os.getresuid(), os.getresgid(), os.getgroups()]
back = []
for way in ("setuid", "seteuid", "setgid", "setegid"):
    try:
        getattr(os, way)(0)
        back.append(way)
    except PermissionError:
        pass
print(json.dumps([trouble, *became, back]))
"""


def become_in_a_process(
    user: str, group: str, *, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = (0, 4, 27)
) -> dict[str, Any]:
    """Who a process is that was once that user, with these supplementary groups."""
    told = json.dumps([uid, gid, groups, user, group])
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, told], stdout=subprocess.PIPE, timeout=60, check=True
    )
    keys = ("trouble", "users", "groups", "supplementary", "ways_back")
    return dict(zip(keys, json.loads(ran.stdout), strict=True))


# -- Becoming somebody ----------------------------------------------------------------------------


@needs_root
def test_it_is_another_user_for_good() -> None:
    assert become_in_a_process("nobody", "") == {
        "trouble": "",
        "users": [NOBODY.pw_uid] * 3,
        "groups": [NOBODY.pw_gid] * 3,
        "supplementary": sorted(os.getgrouplist("nobody", NOBODY.pw_gid)),
        "ways_back": [],
    }


@needs_root
def test_the_group_may_be_another_one() -> None:
    became = become_in_a_process("nobody", OTHER.gr_name)
    assert became["users"] == [NOBODY.pw_uid] * 3
    assert became["groups"] == [OTHER.gr_gid] * 3
    assert set(became["supplementary"]) == set(os.getgrouplist("nobody", OTHER.gr_gid))
    assert became["ways_back"] == []


@needs_root
def test_groups_that_others_made_one_a_member_of() -> None:
    of_several = [
        (user, group)
        for group in grp.getgrall()
        for user in group.gr_mem
        if user in {account.pw_name for account in pwd.getpwall()}
    ]
    if not of_several:
        pytest.skip("no user of this machine is in more than one group")
    user, group = of_several[0]
    assert group.gr_gid in become_in_a_process(user, "")["supplementary"]


@needs_root
def test_the_group_alone() -> None:
    became = become_in_a_process("", NOGROUP)
    assert became["users"] == [0, 0, 0]
    assert became["groups"] == [NOBODY.pw_gid] * 3
    assert became["supplementary"] == []


@needs_root
def test_nobody_is_named() -> None:
    became = become_in_a_process("", "")
    assert (became["users"], became["groups"]) == ([0, 0, 0], [0, 0, 0])
    assert became["supplementary"] == [0, 4, 27]


@needs_root
@pytest.mark.parametrize(
    ("user", "group"), [("nobody", ""), ("nobody", NOGROUP), ("", NOGROUP), ("", "")]
)
def test_who_is_that_already_need_not_be_root(user: str, group: str) -> None:
    became = become_in_a_process(user, group, uid=NOBODY.pw_uid, gid=NOBODY.pw_gid, groups=())
    assert became["trouble"] == ""
    assert became["users"] == [NOBODY.pw_uid] * 3


@needs_root
@pytest.mark.parametrize(
    ("user", "group"), [("root", ""), ("nobody", OTHER.gr_name), ("", OTHER.gr_name)]
)
def test_who_is_not_root_becomes_nobody_else(user: str, group: str) -> None:
    became = become_in_a_process(user, group, uid=NOBODY.pw_uid, gid=NOBODY.pw_gid, groups=())
    assert became["trouble"] == "PermissionError"
    assert became["users"] == [NOBODY.pw_uid] * 3


@pytest.mark.parametrize("name", ["no-such-account", "a b", "a\0b", "nobody\n", "65534"])
def test_an_unknown_user_or_group(name: str) -> None:
    with pytest.raises(NoSuchAccount, match="there is no user"):
        become(name, "")
    with pytest.raises(NoSuchAccount, match="there is no group"):
        become("", name)
    with pytest.raises(NoSuchAccount, match="there is no group"):
        become("nobody", name)


@needs_root
def test_nothing_is_given_up_where_the_group_is_unknown() -> None:
    became = become_in_a_process("nobody", "no-such-group")
    assert became["trouble"] == "NoSuchAccount"
    assert (became["users"], became["supplementary"]) == ([0, 0, 0], [0, 4, 27])


# -- Giving files away ----------------------------------------------------------------------------


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


@needs_root
@pytest.mark.parametrize(
    ("user", "group", "expected"),
    [
        ("nobody", "", (NOBODY.pw_uid, NOBODY.pw_gid)),
        ("nobody", OTHER.gr_name, (NOBODY.pw_uid, OTHER.gr_gid)),
        ("", OTHER.gr_name, (0, OTHER.gr_gid)),
        ("", "", (0, 0)),
    ],
)
def test_a_file_is_given_away(file: Path, user: str, group: str, expected: tuple[int, int]) -> None:
    give_to(file, user, group)
    assert owner(file) == expected


@needs_root
def test_what_a_link_leads_to_is_not_given_away(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    give_to(link, "nobody", "")
    assert owner(file) == (0, 0)
    assert owner(link) == (NOBODY.pw_uid, NOBODY.pw_gid)


@needs_root
def test_a_file_is_given_to_nobody_unknown(file: Path) -> None:
    for user, group in (("no-such-user", ""), ("nobody", "no-such-group")):
        with pytest.raises(NoSuchAccount):
            give_to(file, user, group)
    assert owner(file) == (0, 0)


@needs_root
def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        give_to(tmp_path / "none", "nobody", "")


GIVING = """\
import os, sys
from pathlib import Path
from gatepost.processes.privileges import become, give_to

become("nobody", "")
give_to(Path(sys.argv[1]), "root", "")
"""


@needs_root
def test_who_is_not_root_gives_nothing_away(file: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", GIVING, file], timeout=60, check=False)
    assert ran.returncode == 0
    assert owner(file) == (0, 0)
