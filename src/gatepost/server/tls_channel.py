"""TlsChannel: the server's side of TLS, octets in and octets out; it knows no socket."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial

from gatepost.server.client_certificate import read_client_certificate
from gatepost.server.client_hello import BadHello, ClientHello, read_hello
from gatepost.server.openssl_calls import exported_key, own_certificate
from gatepost.tls import Certificate, Tls
from gatepost.tls_context import PROTOCOLS, TlsContext, reason_of

#: Octets that a client may send before its handshake is complete.
HANDSHAKE_LIMIT = 131_072

#: Octets that OpenSSL may answer on its own once the handshake is complete.  A client that asks for
#: new keys (RFC 8446, 4.6.3), or to renegotiate, gets a record back each time, read or not.
UNASKED_LIMIT = 4_096

#: Octets that go through OpenSSL at a time: its buffers keep the size that they once had.
_SLICE = 16_384
#: A fatal alert of a connection that is not encrypted yet (RFC 8446, 5.1 and 6).
_FATAL_ALERT = bytes((21, 3, 3, 0, 2, 2))
_NO_APPLICATION_PROTOCOL = 120
_OURS = frozenset(protocol.encode() for protocol in PROTOCOLS)


class TlsFailure(Exception):
    """A handshake or a record that is not to be had; the channel is of no more use."""


class TlsChannel:
    """One client's TLS, from the ClientHello to the last close_notify.

    What comes off the wire is given to `receive`, and what it returns is what the client said;
    what is said to the client is given to `seal`.  After each of them, and after `close`, whatever
    `outgoing` returns is to be sent, even if TlsFailure was raised: it has the alert.
    """

    __slots__ = (
        "_certificate",
        "_given",
        "_hello",
        "_incoming",
        "_object",
        "_outgoing",
        "_said_all",
        "_start",
        "_unasked",
        "ended",
        "ready",
    )

    def __init__(self, context: ssl.SSLContext) -> None:
        self.ready = False  #: the handshake is complete
        self.ended = False  #: nothing that the client may yet send is heard
        self._certificate: Certificate | None = None
        self._given = 0  #: octets that the handshake took
        self._hello: ClientHello | None = None
        self._start = bytearray()  #: what there is of the ClientHello
        self._said_all = False  #: nothing that is said now would be heard
        self._unasked = 0  #: octets that OpenSSL answered on its own
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def receive(self, octets: bytes) -> bytes:
        """Take octets off the wire; all that can be read now of what the client said.

        Raises TlsFailure for whatever is not TLS as we want it.
        """
        said: list[bytes] = []
        try:
            if self._hello is None and not self.ended:
                octets = self._begin(octets)
            for start in range(0, len(octets), _SLICE):
                if self.ended:
                    break  # behind close_notify anybody could have put it there
                piece = octets[start : start + _SLICE]
                self._incoming.write(piece)
                if self.ready or self._shake_hands(len(piece)):
                    self._open(said)
        except ssl.SSLError as error:
            raise self._failure(reason_of(error)) from error
        return said[0] if len(said) == 1 else b"".join(said)

    def outgoing(self) -> bytes:
        """Take what is to be sent on the wire now."""
        return self._outgoing.read()

    def seal(self, octets: bytes) -> None:
        """Encrypt something for the client; the handshake must be complete.

        What comes after `close`, or after a TlsFailure, goes nowhere, as with any transport.
        """
        assert self.ready
        left = memoryview(octets)
        while left and not self._said_all:
            try:
                left = left[self._object.write(left) :]
            except ssl.SSLError as error:
                raise self._failure(reason_of(error)) from error

    def close(self) -> None:
        """Say close_notify; the client is not heard any more."""
        self.ended = self._said_all = True
        # What it raises says that the client's own close_notify is not there, or no handshake was.
        with suppress(ssl.SSLError):
            self._object.unwrap()

    def tls(self) -> Tls:
        """What was negotiated; the handshake must be complete."""
        assert self.ready
        assert self._hello is not None
        name, _, bits = self._object.cipher() or ("", "", 0)
        return Tls(
            version=self._object.version() or "",
            cipher=name,
            bits=bits,
            server_name=self._hello.server_name,
            certificate=self._certificate,
            binding=partial(_binding, self._object),
        )

    def _begin(self, octets: bytes) -> bytes:
        """Look at the ClientHello; what OpenSSL may have of it."""
        self._start += octets
        try:
            self._hello = read_hello(self._start)
        except BadHello as error:
            raise self._failure(str(error), error.alert) from error
        if self._hello is None:
            return b""
        offered = self._hello.protocols
        if offered and not _OURS.intersection(offered):  # the ALPACA attack: CVE-2021-3618
            raise self._failure("the client came for another protocol", _NO_APPLICATION_PROTOCOL)
        octets, self._start = bytes(self._start), bytearray()
        return octets

    def _shake_hands(self, length: int) -> bool:
        """Go on with the handshake by so many octets; whether it is complete."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._given += length
            if self._given > HANDSHAKE_LIMIT:
                raise self._failure("the handshake is too long") from None
            return False
        der = self._object.getpeercert(binary_form=True)
        if der is not None:
            try:
                self._certificate = read_client_certificate(der)
            except ValueError as error:
                self.close()
                raise self._failure("the client's certificate cannot be read") from error
        self.ready = True
        return True

    def _open(self, said: list[bytes]) -> None:
        """Decrypt what is there."""
        before = self._outgoing.pending
        self._decrypt(said)
        self._unasked += self._outgoing.pending - before
        if self._unasked > UNASKED_LIMIT:
            raise self._failure("the client asks for new keys without end")

    def _decrypt(self, said: list[bytes]) -> None:
        while self._incoming.pending or self._object.pending():
            try:
                part = self._object.read(_SLICE)
            except ssl.SSLWantReadError:
                return
            if not part:  # close_notify
                self.ended = True
                return
            said.append(part)

    def _failure(self, reason: str, alert: int | None = None) -> TlsFailure:
        self.ended = self._said_all = True
        self._start.clear()
        if alert is not None:
            self._outgoing.write(_FATAL_ALERT + bytes((alert,)))
        return TlsFailure(reason)


def _binding(connection: ssl.SSLObject, name: str) -> bytes | None:
    """A channel binding's octets, for SCRAM (RFC 5802) and its like."""
    if name == "tls-server-end-point":
        return _end_point(connection)
    # RFC 9266, 3: it is safe under TLS 1.3; under 1.2 only with an extended master secret.
    if name == "tls-exporter" and connection.version() == "TLSv1.3":
        return exported_key(connection, b"EXPORTER-Channel-Binding", 32)
    return None


def _end_point(connection: ssl.SSLObject) -> bytes | None:
    """RFC 5929, 4.1, of the certificate that was shown, where the context knows it."""
    context = connection.context
    shown = context.certificates if isinstance(context, TlsContext) else ()
    if len(shown) > 1:
        if connection.session_reused:
            return None  # none was shown, and OpenSSL does not know which it once was
        der = own_certificate(connection)
        shown = tuple(certificate for certificate in shown if certificate.der == der)
    return shown[0].end_point if len(shown) == 1 else None
