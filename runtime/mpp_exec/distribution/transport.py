"""Requests to one registry: over TLS, as whoever we are there, led to where they may be led.

Plain HTTP is spoken with this machine only. What proves who we are goes to the registry itself and to the
token service that it names, and to nowhere that it redirects to.

Sources: OCI distribution specification 1.1; RFC 9110 (redirects, ``WWW-Authenticate``), RFC 6750 (bearer
tokens); the token service is that of Docker's registry ("Token Authentication Specification", with OAuth 2
for identity tokens).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

from mpp_exec.distribution.credentials import Credentials
from mpp_exec.distribution.reference import is_loopback
from mpp_exec.distribution.wire import Answer, Body, Response, Wire, basic
from mpp_exec.errors import UsageError
from mpp_exec.patterns import lazily

_REDIRECTS: Final = 5
_CHALLENGE: Final = lazily(  # a name begins where a word does: no other place in it is tried
    r'(?<![A-Za-z0-9_-])([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))'
)
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(slots=True)
class Transport:
    """Speaks with the registry *host*, through the proxy of the environment. Not thread-safe; close it.

    Attributes:
        host: with its port where that is not the usual one.
        credentials: None to be nobody.
    """

    host: str
    credentials: Credentials | None
    _proof: str = field(default="", init=False, repr=False)  # the value of Authorization
    _wire: Wire = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._wire = Wire(self.host)

    @property
    def base(self) -> str:
        """Where the registry's interface begins."""
        return f"{'http' if is_loopback(self.host) else 'https'}://{self.host}/v2/"

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        scope: str,
    ) -> Answer:
        """Make a request and read its answer, which may say that it failed.

        *url* is below :attr:`base`, or whole. *scope* is what is wanted to be allowed to do, as the token
        service has it.

        Raises:
            InternalError: ``registry.unreachable``, ``registry.answer``.
            UsageError: ``registry.denied``.
        """
        with self._open(method, url, headers or {}, body, scope) as response:
            return self._wire.whole(response, url)

    @contextmanager
    def download(self, url: str, *, size: int, scope: str) -> Iterator[tuple[Answer | None, Iterator[bytes]]]:
        """Ask for a blob of *size* bytes: its pieces, or the answer that there is none.

        No more than *size* bytes are taken; whoever gets them compares the digest.

        Raises:
            as :meth:`ask`; also while the pieces are taken.
            PackageError: ``registry.digest``: there are more.
        """
        with self._open("GET", url, {}, None, scope) as response:
            if response.status != 200:
                yield self._wire.whole(response, url), iter(())
            else:
                yield None, self._wire.pieces(response, url, size)

    def close(self) -> None:
        """Let go of every connection."""
        self._wire.close()

    # -- one request, who we are, and where it leads -------------------------------------------------

    @contextmanager
    def _open(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, scope: str
    ) -> Iterator[Response]:
        where = urljoin(self.base, url)
        response = self._followed(method, where, headers, body)
        try:
            if response.status == 401:
                challenge = response.headers.get("WWW-Authenticate", "")
                response.close()
                self._proof = self._proven(challenge, scope)
                response = self._followed(method, where, headers, body)
            if response.status in (401, 403):
                raise self._denied(self._wire.whole(response, where))
            yield response
        finally:
            response.close()

    def _followed(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Response:
        for _ in range(_REDIRECTS):
            own = self._is_registry(url)
            given = {**headers, **({"Authorization": self._proof} if own and self._proof else {})}
            response = self._wire.send(method, url, given, body)
            if response.status not in _REDIRECTING:
                if response.status == 401 and not own:  # what token service it names is not heeded
                    response.close()
                    raise self._wire.wrong("it redirects to where a proof of who we are is asked for")
                return response
            target = response.headers.get("Location", "")
            response.close()
            if method not in ("GET", "HEAD"):
                # What is to be stored goes where it was sent to, and nowhere else.
                raise self._wire.wrong(f"it sends a {method} elsewhere")
            url = self._led(url, target)
        raise self._wire.wrong(f"it redirects more than {_REDIRECTS} times")

    def _led(self, url: str, target: str) -> str:
        """Return where a redirection leads."""
        try:
            led = urljoin(url, target) if target else ""
        except ValueError:
            led = ""
        if not self._may_speak(led):
            raise self._wire.wrong("it redirects to where no secure connection leads")
        return led

    def _is_registry(self, url: str) -> bool:
        parts = urlsplit(url)
        base = urlsplit(self.base)
        return (parts.scheme, parts.netloc.lower()) == (base.scheme, base.netloc)

    def _may_speak(self, url: str) -> bool:
        """Whether *url* is one of TLS, or of this machine, as the registry is then: of a host alone."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        if parts.hostname is None or "@" in parts.netloc:
            return False
        if parts.scheme == "https":
            return True
        return parts.scheme == "http" and is_loopback(self.host) and is_loopback(parts.netloc.lower())

    # -- proof of who we are ------------------------------------------------------------------------

    def _proven(self, challenge: str, scope: str) -> str:
        """Return what to prove with, as *challenge* asks for it."""
        scheme, _, rest = challenge.partition(" ")
        words = {name.lower(): quoted or plain for name, quoted, plain in _CHALLENGE.findall(rest)}
        if scheme.lower() == "basic":
            if self.credentials is None or not self.credentials.user:
                raise self._denied(None)
            return basic(self.credentials.user, self.credentials.password)
        realm = words.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            raise self._wire.wrong("it asks for a proof of who we are that is not known here")
        if not self._may_speak(realm):
            raise self._wire.wrong("its token service is not at the end of a secure connection")
        return f"Bearer {self._token(realm, words.get('service', ''), words.get('scope') or scope)}"

    def _token(self, realm: str, service: str, scope: str) -> str:
        asked = {"service": service, "scope": scope}
        known = self.credentials
        if known is not None and known.identity_token:
            form = urlencode(
                {
                    **asked,
                    "client_id": "mpp-exec",
                    "grant_type": "refresh_token",
                    "refresh_token": known.identity_token,
                }
            ).encode()
            body = Body(len(form), lambda: [form], "application/x-www-form-urlencoded")
            response = self._wire.send("POST", realm, {}, body)
        else:
            mark = "&" if urlsplit(realm).query else "?"
            headers = {} if known is None else {"Authorization": basic(known.user, known.password)}
            response = self._wire.send("GET", f"{realm}{mark}{urlencode(asked)}", headers, None)
        try:
            answer = self._wire.whole(response, realm)
        finally:
            response.close()
        if answer.status in (400, 401, 403):
            raise self._denied(answer)
        try:
            said = json.loads(answer.body)
            token = said.get("token") or said.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if (
            answer.status != 200
            or not isinstance(token, str)
            or not token.isascii()
            or not token.isprintable()
        ):
            raise self._wire.wrong(f"its token service has no token (status {answer.status})")
        return token

    # -- what to say --------------------------------------------------------------------------------

    def _denied(self, answer: Answer | None) -> UsageError:
        said = f": {answer.said}" if answer is not None and answer.said else ""
        who = "nobody is logged in there" if self.credentials is None else "who is logged in there may not"
        return UsageError(
            "registry.denied",
            f"{self.host} refuses this, and {who}{said}",
            "log in with any tool that keeps credentials where containers' tools do, such as: "
            f"oras login {self.host}",
        )
