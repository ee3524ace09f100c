"""`gatepost password`: the line by which `auth_file` knows a user."""

from __future__ import annotations

import sys

import click

from gatepost.cli.complaint import complain
from gatepost.hashed_password import FOR_NEW, PASSWORD_LIMIT, HashedPassword
from gatepost.plugins.auth.auth_file import user_name


@click.command("password")
@click.argument("name")
@click.option(
    "--scheme",
    type=click.Choice(FOR_NEW),
    help="How the password is kept.  [default: argon2id, or scrypt where argon2-cffi is missing]",
)
def command(name: str, scheme: str | None) -> None:
    """Print the line for a new user's password.

    It goes into the file of the plugin auth_file: `gatepost password bob >> users`.  The password
    is asked for at the terminal; where standard input is none, its first line is the password.

    With one of the SCRAM schemes, the password itself is never sent by clients that know SCRAM;
    `plain` is only good for CRAM-MD5, and leaves it readable.
    """
    try:
        user = user_name(name)
    except ValueError as error:
        complain(f"{name}: {error}")
    try:
        kept = HashedPassword.make(_asked() if sys.stdin.isatty() else _read(), scheme or "")
    except ValueError as error:
        complain(f"the password cannot be kept: {error}")
    click.echo(f"{user}:{kept}")


def _asked() -> str:
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _read() -> str:
    line = sys.stdin.buffer.readline(PASSWORD_LIMIT + 2)
    try:
        return line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
