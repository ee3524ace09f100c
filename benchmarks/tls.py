"""What a TLS session costs: `python -m benchmarks.tls`.

`openssl s_time` makes one full handshake after the other with our implicit listener and with
`openssl s_server`, which does nothing else.  What we take beyond that is our own.  And clear
sessions of two servers, one of which offers STARTTLS and AUTH, show what these cost who uses
neither.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import trustme

from benchmarks.rivals import Server, free_port, gatepost, running, smtp_source

ROUNDS = 5
SECONDS = 4
MESSAGES = 4000

TLS = """
[tls]
certificate = "{directory}/server.pem"
[[plugin]]
use = "auth_file"
users = ["bob:{{PLAIN}}secret"]
"""


def handshakes(server: Server, version: str) -> float:
    """CPU milliseconds of the server for each full handshake."""
    before = server.cpu_seconds()
    said = subprocess.run(
        ["openssl", "s_time", "-connect", f"127.0.0.1:{server.port}", "-new", f"-{version}",
         "-time", str(SECONDS)],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    match = re.search(r"(\d+) connections in \d+ real seconds", said)
    assert match, said
    return (server.cpu_seconds() - before) / int(match[1]) * 1000


def sessions(server: Server) -> float:
    """CPU milliseconds of the server for each message of 1 KiB, a clear connection each."""
    before = server.cpu_seconds()
    smtp_source(server, messages=MESSAGES, size=1024, sessions=100)
    return (server.cpu_seconds() - before) / MESSAGES * 1000


def main() -> None:
    """Take turns, and print the medians."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        own = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("localhost")
        own.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
        tls = TLS.format(directory=directory)
        port = free_port()
        s_server = [
            "openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-num_tickets", "0",
            "-cert", f"{directory}/server.pem", "-key", f"{directory}/server.pem",
        ]  # fmt: skip
        with (
            running("openssl s_server", port, s_server, banner=b"") as openssl,
            gatepost(directory, tls=tls, listen='tls = "implicit"') as implicit,
            gatepost(directory, tls=tls, listen='tls = "starttls"') as offering,
            gatepost(directory) as plain,
        ):
            costs = defaultdict[str, list[float]](list)
            for _ in range(ROUNDS):
                for version in ("tls1_2", "tls1_3"):
                    costs[f"{version} s_server"].append(handshakes(openssl, version))
                    costs[f"{version} gatepost"].append(handshakes(implicit, version))
                costs["clear, with STARTTLS and AUTH offered"].append(sessions(offering))
                costs["clear"].append(sessions(plain))
    for what, values in costs.items():
        print(f"{what:40} {median(values):7.3f} ms of CPU")


if __name__ == "__main__":
    main()
