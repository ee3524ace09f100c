"""The packaged unit, run by a real systemd: one of our own, with a network and files of its own.

It is the first process in namespaces that end with it.  Its files are this machine's programs, to
be read only, and an /etc with nothing but the unit; nobody else is in its network, so that port 25
is free.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

import gatepost

PACKAGING = Path(__file__).parents[2] / "packaging"
SYSTEMD = Path("/lib/systemd/systemd")
PROGRAMS = ("mount", "nsenter", "pivot_root", "systemctl", "systemd-sysusers", "unshare")
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
PATHS = "/usr/sbin:/usr/bin:/sbin:/bin"
#: What setns(2) calls a network.
CLONE_NEWNET = 0x40000000
#: Of a tree, beside those that are this machine's.
DIRECTORIES = (
    "dev",
    "etc/systemd/system",
    "old",
    "opt/gatepost/bin",
    "proc",
    "run",
    "sys",
    "tmp",
    "var",
)
#: What a systemd cannot do without.
MOUNTS = (
    "mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t cgroup2 cgroup2 /sys/fs/cgroup"
)
SECONDS = 60

CONFIGURATION = """\
hostname = "mx.example.org"
state = "/var/lib/gatepost"
workers = 2

[log]
target = "journald"

[trail]

[[listen]]
name = "mx"
address = "0.0.0.0:25"

[[listen]]
name = "mx6"
address = "[::]:25"

[[plugin]]
use = "load_check"
load = 1000

[[plugin]]
use = "domains"
domains = ["example.org"]

[[plugin]]
use = "maildir"
path = "{maildir}"
"""

SUBMISSION = """\
hostname = "mx.example.org"
state = "/var/lib/gatepost"
workers = 1

[log]
target = "/var/log/gatepost/log"

[metrics]
address = "127.0.0.1:9925"

[tls]
certificate = "tls.pem"
key = "tls.pem"

[[listen]]
address = "0.0.0.0:25"
tls = "starttls"
require_auth = true

[[plugin]]
use = "auth_file"
users = "users"

[[plugin]]
use = "domains"
domains = ["example.org"]

[[plugin]]
use = "command"
command = ["sh", "-c", "cat > /var/lib/gatepost/letter"]
"""
#: Their passwords are `pencil`.
USERS = """\
anne:$argon2id$v=19$m=19456,t=2,p=1$xdkN0P3PsgWzgfBBKOTUgA$zytZ9UHFt/Y5+qy+k+xdSTremRypSZ7JXyX/vwXdPgk
bob:$2b$11$gxc6ey13sas7CCSaLYe0a.2p.AT.4X4Z4o7iGYvfFC/5KfmFQmLkW
"""

#: Becomes systemd; $1 is its tree.  A line for each directory of the machine stands in `binds`.
BOOT = """\
set -e
mount --bind "$1" "$1"
cd "$1"
{binds}
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for one in null zero full random urandom tty; do
  touch dev/$one
  mount --bind /dev/$one dev/$one
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
pivot_root . old
umount -l old
exec env -i container=test PATH={paths} {systemd} --log-target=journal --unit=basic.target
"""


def cgroups() -> Path | None:
    """Where the control groups of version 2 are."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"), None)


def obstacle() -> str:
    """Why no systemd can be run here; empty when one can."""
    missing = [one for one in PROGRAMS if shutil.which(one, path=PATHS) is None]
    if missing or not SYSTEMD.exists():
        return f"not installed: {', '.join(missing) or 'systemd'}"
    if os.geteuid() != 0:
        return "only root can make the namespaces for a systemd"
    if (where := cgroups()) is None or not os.access(where, os.W_OK):
        return "there are no control groups of version 2 to be written"
    words = ["unshare", "--fork", *NAMESPACES, "sh", "-ec", MOUNTS]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if made.returncode == 0 else f"no namespaces for a systemd: {made.stderr.strip()}"


pytestmark = pytest.mark.skipif(bool(why := obstacle()), reason=why)


@dataclass
class Manager:
    """A systemd that runs."""

    tree: Path  #: its files, as they are called out here
    pid: int  #: its number out here

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        enter = ["nsenter", f"--target={self.pid}", *NAMESPACES, "--root", "--wd"]
        return subprocess.run(
            [*enter, "env", "-i", f"PATH={PATHS}", *words],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def systemctl(self, *words: str) -> None:
        """Have it do something that must not fail."""
        done = self.run("systemctl", *words)
        assert done.returncode == 0, f"{done.stderr}\n{self.journal()}"

    def gatepost(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of our own commands."""
        return self.run("/opt/gatepost/bin/gatepost", *words, "-c", "/etc/gatepost/gatepost.toml")

    def journal(self) -> str:
        """All that was logged of the service."""
        return self.run("journalctl", "--unit=gatepost", "--no-pager").stdout

    @property
    def user(self) -> int:
        """The number of the server's user."""
        lines = (self.tree / "etc/passwd").read_text().splitlines()
        return next(int(line.split(":")[2]) for line in lines if line.startswith("gatepost:"))

    def shows(self, name: str) -> str:
        """A property of the service."""
        return self.run(
            "systemctl", "show", f"--property={name}", "--value", "gatepost"
        ).stdout.strip()

    def add(self, settings: str) -> None:
        """Add to the section [Service], as `systemctl edit` does."""
        path = self.tree / "etc/systemd/system/gatepost.service.d/override.conf"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[Service]\n{settings}\n")
        self.systemctl("daemon-reload")

    def configure(self, text: str) -> None:
        path = self.tree / "etc/gatepost/gatepost.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection inside; a thread goes there, for it cannot be left again."""
        made: list[socket.socket | OSError] = []

        def go_in() -> None:
            try:
                with open(f"/proc/{self.pid}/ns/net", "rb") as network:
                    if ctypes.CDLL(None).setns(network.fileno(), CLONE_NEWNET) != 0:
                        raise OSError("there is no way into the network")
                made.append(socket.create_connection((host, port), SECONDS))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=go_in)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def eventually(self, holds: Callable[[], bool]) -> None:
        """Wait for what happens in its own time; a minute at most."""
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline, self.journal()
            time.sleep(0.1)


class Client(smtplib.SMTP):
    """A client in the network of a manager."""

    def __init__(self, manager: Manager, host: str = "127.0.0.1") -> None:
        self._manager = manager
        super().__init__(host, 25, "client.example", SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._manager.connect(host, port)

    def send_letter(self, subject: str) -> None:
        """Send a letter.  Raises SMTPException when it is not taken."""
        self.sendmail("a@x.example", ["b@example.org"], f"Subject: {subject}\r\n\r\nHello\r\n")


def build(tree: Path) -> list[tuple[Path, Path]]:
    """Lay out a tree; what of the machine belongs where in it."""
    for name in DIRECTORIES:
        (tree / name).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    binds = [(Path("/usr"), tree / "usr")]
    for path in map(Path, ("/bin", "/sbin", "/lib", "/lib64")):
        if path.is_symlink():
            (tree / path.name).symlink_to(path.readlink())
        elif path.exists():
            binds.append((path, tree / path.name))
    for name in ("ld.so.cache", "nsswitch.conf", "os-release"):
        shutil.copy(Path("/etc", name), tree / "etc" / name)
    (tree / "etc/machine-id").write_text(f"{os.urandom(16).hex()}\n")
    for name in ("etc", "var"):  # newer than the programs: nothing has to be brought up to date
        (tree / name / ".updated").touch()
    return [*binds, *install(tree)]


def install(tree: Path) -> Iterator[tuple[Path, Path]]:
    """Install Gatepost as its manual says, but with the Python and the packages of the tests."""
    for unit in ("gatepost.service", "gatepost.socket"):
        shutil.copy(PACKAGING / unit, tree / "etc/systemd/system")
    users = [f"--root={tree}", str(PACKAGING / "gatepost.sysusers")]
    subprocess.run(["systemd-sysusers", *users], check=True, capture_output=True)
    home = Path(sys.base_prefix)
    if not home.is_relative_to("/usr"):  # it may be in a home, which the unit does not see
        yield home, tree / "opt/python"
        home = Path("/opt/python")
    paths = (Path(gatepost.__file__).parents[1], Path(sysconfig.get_path("purelib")))
    for number, path in enumerate(paths):
        yield path, tree / f"opt/gatepost/{number}"
    program = tree / "opt/gatepost/bin/gatepost"
    program.write_text(
        "#!/bin/sh\n"
        f"exec env LD_LIBRARY_PATH={home}/lib PYTHONPATH=/opt/gatepost/0:/opt/gatepost/1 "
        f'{home}/bin/python{sys.version_info[0]}.{sys.version_info[1]} -m gatepost "$@"\n'
    )
    program.chmod(0o755)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    tree = tmp_path / "tree"
    binds = build(tree)
    for _, target in binds:
        target.mkdir(parents=True, exist_ok=True)
    boot = tmp_path / "boot"
    lines = [shlex.join(["mount", "--bind", str(here), str(there)]) for here, there in binds]
    lines += [shlex.join(["mount", "-o", "remount,ro,bind", str(there)]) for _, there in binds]
    boot.write_text(BOOT.format(binds="\n".join(lines), paths=PATHS, systemd=SYSTEMD))
    group = (cgroups() or tree) / f"gatepost-test-{os.getpid()}"
    group.mkdir()
    words = ["unshare", "--fork", "--kill-child", *NAMESPACES, "sh", str(boot), str(tree)]
    join = f'echo $$ > {group}/cgroup.procs; exec "$@"'
    process = subprocess.Popen(["sh", "-ec", join, "sh", *words], start_new_session=True)
    try:
        yield booted(tree, process)
    finally:
        process.kill()
        process.wait(SECONDS)
        for directory, _, _ in os.walk(group, topdown=False):
            remove(Path(directory))


def booted(tree: Path, process: subprocess.Popen[bytes]) -> Manager:
    """The manager, when it answers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if pids := children.read_text().split():
            manager = Manager(tree, int(pids[0]))
            if manager.run("systemctl", "is-active", "basic.target").stdout == "active\n":
                return manager
        time.sleep(0.05)
    raise AssertionError(f"systemd did not start: {process.poll()}")


def remove(group: Path) -> None:
    """Remove a control group, as soon as its last process has gone."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return group.rmdir()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def letters(directory: Path) -> list[str]:
    """The subjects of the letters in a maildir."""
    texts = [path.read_text() for path in (directory / "new").iterdir()]
    return sorted(line[9:] for text in texts for line in text.splitlines() if "Subject: " in line)


def serving(manager: Manager) -> None:
    """Start the server with what is usual."""
    manager.configure(CONFIGURATION.format(maildir="/var/lib/gatepost/mail"))
    manager.systemctl("start", "gatepost")


def test_mail_is_taken_by_somebody_who_is_not_root(manager: Manager) -> None:
    serving(manager)
    status = manager.gatepost("status").stdout  # systemd waited until the workers were ready
    assert status.count("at work") == 2
    for host in ("127.0.0.1", "::1"):
        with Client(manager, host) as client:
            client.send_letter(host)
    state = manager.tree / "var/lib/gatepost"
    assert letters(state / "mail") == ["127.0.0.1", "::1"]
    assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (manager.user, 0o700)
    manager.eventually(lambda: manager.gatepost("sessions").stdout.count("Queued as") == 2)
    rights = manager.run("cat", f"/proc/{manager.shows('MainPID')}/status").stdout
    assert re.search(rf"^Uid:\t{manager.user}\t{manager.user}\t", rights, re.MULTILINE)
    for line in ("CapEff:\t0000000000000400", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in rights


def test_plugins_have_what_they_need(manager: Manager) -> None:
    certificate = trustme.CA().issue_cert("mx.example.org")
    manager.configure(SUBMISSION)
    directory = manager.tree / "etc/gatepost"
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "tls.pem")
    (directory / "users").write_text(USERS)
    manager.systemctl("start", "gatepost")
    for name in ("anne", "bob"):
        with Client(manager) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.login(name, "pencil")
            client.send_letter(name)
    assert "Subject: bob" in (manager.tree / "var/lib/gatepost/letter").read_text()
    manager.eventually(lambda: "as bob" in (manager.tree / "var/log/gatepost/log").read_text())


def test_mail_elsewhere_has_to_be_allowed(manager: Manager) -> None:
    directory = manager.tree / "var/mail/example.org"
    directory.mkdir(parents=True)
    os.chown(directory, manager.user, -1)
    manager.configure(CONFIGURATION.format(maildir="/var/mail/example.org"))
    manager.systemctl("start", "gatepost")
    with Client(manager) as client, pytest.raises(smtplib.SMTPDataError, match="451"):
        client.send_letter("too soon")
    manager.add("ReadWritePaths=/var/mail")
    manager.systemctl("restart", "gatepost")
    with Client(manager) as client:
        client.send_letter("now")
    assert letters(directory) == ["now"]


def test_a_reload_cuts_nobody_off(manager: Manager) -> None:
    serving(manager)
    process = manager.shows("MainPID")
    with Client(manager) as patient:
        patient.send_letter("before")
        manager.systemctl("reload", "gatepost")
        patient.send_letter("after, on the same connection")
        with Client(manager) as other:
            other.send_letter("after, on another")
        manager.configure(CONFIGURATION.format(maildir="/var/lib/gatepost/mail") + "paht = 1\n")
        assert manager.run("systemctl", "reload", "gatepost").returncode != 0
        patient.send_letter("after a bad one")
    assert len(letters(manager.tree / "var/lib/gatepost/mail")) == 4
    assert (manager.shows("ActiveState"), manager.shows("MainPID")) == ("active", process)
    manager.eventually(lambda: "not reloaded" in manager.journal())
    assert "unknown option 'paht'" in manager.journal()


def test_stop_lets_a_message_be_finished(manager: Manager) -> None:
    serving(manager)
    with Client(manager) as client:
        for line in ("EHLO client.example", "MAIL FROM:<>", "RCPT TO:<b@example.org>", "DATA"):
            client.docmd(line)
        manager.systemctl("stop", "--no-block", "gatepost")
        manager.eventually(lambda: manager.shows("ActiveState") == "deactivating")
        client.send("Subject: last\r\n\r\nHello\r\n.\r\n")
        assert client.getreply()[0] == 250
        assert client.getreply()[0] == 421
    manager.eventually(lambda: manager.shows("ActiveState") == "inactive")
    assert manager.shows("Result") == "success"
    assert letters(manager.tree / "var/lib/gatepost/mail") == ["last"]


@pytest.mark.parametrize(
    ("number", "settings", "words"),
    [("STOP", "WatchdogSec=5", "Watchdog timeout"), ("KILL", "", "status=9/KILL")],
)
def test_a_server_that_hangs_or_dies_is_replaced(
    number: str, settings: str, words: str, manager: Manager
) -> None:
    manager.add(settings)
    serving(manager)
    process = manager.shows("MainPID")
    manager.systemctl("kill", "--kill-whom=main", f"--signal={number}", "gatepost")
    manager.eventually(lambda: manager.shows("MainPID") not in ("0", process))
    manager.eventually(lambda: manager.shows("ActiveState") == "active")
    with Client(manager) as client:
        client.send_letter("afterwards")
    assert words in manager.journal()


def test_sockets_of_systemd_need_no_right_and_outlive_a_restart(manager: Manager) -> None:
    manager.configure(CONFIGURATION.format(maildir="/var/lib/gatepost/mail"))
    manager.add("AmbientCapabilities=\nCapabilityBoundingSet=")
    manager.systemctl("start", "gatepost.socket")
    assert manager.shows("ActiveState") == "inactive"
    with Client(manager) as client, Client(manager, "::1") as other:
        client.send_letter("who wakes it")
        other.send_letter("over IPv6")
    manager.systemctl("restart", "--no-block", "gatepost")
    greetings: list[bytes] = []
    while manager.run("systemctl", "list-jobs").stdout != "No jobs running.\n":
        with manager.connect("127.0.0.1", 25) as connection:
            greetings.append(connection.recv(3))
    assert greetings
    assert set(greetings) <= {b"220", b"421"}
    with Client(manager) as client:
        client.send_letter("who comes after it")
    assert len(letters(manager.tree / "var/lib/gatepost/mail")) == 3
