"""Web addresses that take mail."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Final, Literal
from urllib.parse import quote, urlsplit

import aiohttp

from gatepost import Accept, Defer, Deny, Plugin, Site, Transaction, Verdict

log = logging.getLogger(__name__)

#: Octets of a response that are read, for the log.
RESPONSE_LIMIT: Final = 4096
#: Seconds that it may take to come in behind its status.
LAST_WORDS: Final = 1.0
#: Octets that are hashed before others may go on with their work.
TURN: Final = 1_048_576

REFUSED: Final = Deny("The message is refused", code=554, status="5.7.1")
TOO_BIG: Final = Deny("The message is too big", code=552, status="5.3.4")
FAILED: Final = Defer("The message cannot be handed on now", status="4.3.0")
UNREACHABLE: Final = Defer("The message cannot be handed on now", status="4.4.1")

#: What a status code means; where none is named, 2xx accepts, 4xx denies, and all else defers.
# fmt: off
STATUS_CODES: Final[dict[int, Verdict]] = {
    401: FAILED,   # our token is wrong, which says nothing of the message
    407: FAILED,   # and so is what a proxy wants of us
    408: FAILED,   # it came too slowly
    413: TOO_BIG,
    425: FAILED,   # too early
    429: FAILED,   # too much at once
}
# fmt: on


@dataclass
class HttpPost(Plugin):
    """Post each message and its envelope to a web address.

    | `format` | what is posted |
    |---|---|
    | `raw` | the message, as `message/rfc822`; the envelope in fields of the request |
    | `json` | an object |

    The fields are `X-Gatepost-Id`, `-Client` (its IP address), `-Hello`, `-User`, `-Sender` and
    `-Recipients`, percent-encoded, with commas between the recipients.  The keys of the object are
    `id`, `client`, `hello`, `user`, `sender`, `recipients`, `headers` (pairs of a name and its
    decoded value) and `message` (base64).  With many recipients take `json`: servers limit the
    size of fields.

    A 2xx status accepts: by it the application takes responsibility for the message.  4xx denies
    it, but 401, 407, 408, 425 and 429 defer it, and so does all else: 5xx, a redirection, which is
    not followed, and an application that cannot be reached within `wait` seconds.  A message that
    was deferred comes again.  `Idempotency-Key` is the same then, so that an application that has
    taken it after all can tell; it is a hash of the envelope, the body and the fields From, To,
    Date, Subject and Message-ID.

        [[plugin]]
        use = "domains"
        domains = ["example.org"]
        [[plugin]]
        use = "http_post"
        url = "http://127.0.0.1:1/nobody-listens-here"

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 ...
        C: RCPT TO:<bob@example.org>
        S: 250 2.1.5 ...
        C: DATA
        S: 354 ...
        C: Subject: Hello
        C:
        C: How are you?
        C: .
        S: 451 4.4.1 The message cannot be handed on now
    """

    url: str = field(repr=False)  #: where to post to: `https://app.example/mail`
    format: Literal["raw", "json"] = "raw"  #: of what is posted
    #: sent as `Authorization: Bearer ...`; empty: nothing is
    token: str = field(default="", repr=False)
    verify: bool = True  #: whether the certificate must be good for the host's name
    wait: float = 25.0  #: seconds for one message; let it be less than `timeout`

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("option 'url' must be an http:// or https:// address")
        if not self.token.isascii() or not self.token.isprintable():
            raise ValueError("option 'token' must be of printable ASCII characters")
        if self.wait <= 0:
            raise ValueError("option 'wait' must be more than 0")
        self._host = parts.hostname  # the rest of the address may hold a secret: it is not logged

    async def queue(self, transaction: Transaction) -> Verdict | None:
        if not transaction.recipients:
            return None
        fields = self._fields(transaction) | {"Idempotency-Key": await _digest(transaction)}
        head, pieces, tail = b"", iter(transaction.message), b""
        size = transaction.message.size
        if self.format == "json":
            head, tail = _object(transaction)
            pieces, size = _base64(pieces), -(-size // 3) * 4
        fields["Content-Length"] = str(len(head) + size + len(tail))
        try:
            response = await self._session.post(
                self.url,
                data=_body(head, pieces, tail),
                headers=fields,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.error("%s: no answer from %s: %r", transaction.id, self._host, error)
            return UNREACHABLE
        try:
            words = await _words(response)
        finally:
            response.release()
        verdict = meaning(response.status)
        log.log(
            logging.INFO if verdict == Accept() else logging.WARNING,
            "%s: %s answers %d: %s",
            transaction.id,
            self._host,
            response.status,
            words,
        )
        return verdict

    async def shutdown(self, site: Site) -> None:
        if "_session" in vars(self):
            await self._session.close()
            del self._session

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        """The connections; they belong to the event loop that first asks."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.verify),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.wait),
            auto_decompress=False,  # what is packed can be larger than all that we would read
            headers={"Accept-Encoding": "identity", "User-Agent": "Gatepost"}
            | ({"Authorization": f"Bearer {self.token}"} if self.token else {}),
        )

    def _fields(self, transaction: Transaction) -> dict[str, str]:
        if self.format == "json":
            return {"Content-Type": "application/json", "X-Gatepost-Id": transaction.id}
        session = transaction.session
        mailboxes = [recipient.address.mailbox for recipient in transaction.recipients]
        return {
            "Content-Type": "message/rfc822",
            "X-Gatepost-Id": transaction.id,
            "X-Gatepost-Client": _encoded(session.client.host),
            "X-Gatepost-Hello": _encoded(session.hello),
            "X-Gatepost-User": _encoded(session.user),
            "X-Gatepost-Sender": _encoded(transaction.sender.mailbox),
            "X-Gatepost-Recipients": ",".join(map(_encoded, mailboxes)),
        }


# -- What is posted -------------------------------------------------------------------------------


def _encoded(text: str) -> str:
    """Foreign text fit for a field; some decoders would take a bare `+` for a blank."""
    return quote(text, safe="@:[]")


def _object(transaction: Transaction) -> tuple[bytes, bytes]:
    """What stands before and behind the message in JSON."""
    session = transaction.session
    known = {
        "id": transaction.id,
        "client": session.client.host,
        "hello": session.hello,
        "user": session.user,
        "sender": transaction.sender.mailbox,
        "recipients": [recipient.address.mailbox for recipient in transaction.recipients],
        "headers": list(transaction.message.headers),
        "message": "",
    }
    return json.dumps(known).encode()[:-2], b'"}'


def _base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        piece = held + piece
        whole = len(piece) - len(piece) % 3
        held = piece[whole:]
        yield base64.b64encode(piece[:whole])
    yield base64.b64encode(held)


async def _body(head: bytes, pieces: Iterable[bytes], tail: bytes) -> AsyncIterator[bytes]:
    yield head
    for piece in pieces:
        yield piece
    yield tail


async def _digest(transaction: Transaction) -> str:
    """A name for the message that stays the same when it comes again.

    Other fields than these may not: our own Received does not, nor what plugins have added.
    """
    mailboxes = sorted(recipient.address.mailbox for recipient in transaction.recipients)
    digest = sha256(json.dumps([transaction.sender.mailbox, mailboxes]).encode())
    for name in ("From", "To", "Date", "Subject", "Message-ID"):
        digest.update(b"".join(transaction.message.headers.raw(name)))
    hashed = 0
    for piece in transaction.message.body():
        digest.update(piece)
        hashed += len(piece)
        if hashed // TURN > (hashed - len(piece)) // TURN:
            await asyncio.sleep(0)
    return digest.hexdigest()


# -- What comes back ------------------------------------------------------------------------------


def meaning(status: int) -> Verdict:
    """What an HTTP status says of the message."""
    by_class: dict[int, Verdict] = {2: Accept(), 4: REFUSED}
    return STATUS_CODES.get(status, by_class.get(status // 100, FAILED))


async def _words(response: aiohttp.ClientResponse) -> str:
    """The beginning of a response, fit for a log; nothing depends on it."""
    text = response.headers.get("Location", "")
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with asyncio.timeout(LAST_WORDS):
            text += (await response.content.read(RESPONSE_LIMIT)).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in text).strip()
