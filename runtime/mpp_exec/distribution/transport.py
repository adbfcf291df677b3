"""Requests to one registry: over TLS, as whoever we are there, bounded in time and size.

Plain HTTP is spoken with this machine only. What proves who we are goes to the registry itself and to the
token service that it names, and to nowhere that it redirects to.

Sources: OCI distribution specification 1.1; RFC 9110 (redirects, ``WWW-Authenticate``), RFC 6750 (bearer
tokens); the token service is that of Docker's registry ("Token Authentication Specification", with OAuth 2
for identity tokens).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlencode, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from mpp_exec.distribution.credentials import Credentials
from mpp_exec.distribution.reference import is_loopback, without_port
from mpp_exec.errors import InternalError, PackageError, UsageError

CONNECT_S: Final = 10.0
SILENCE_S: Final = 30.0
"""Seconds between two bytes."""

WHOLE_S: Final = 60.0
SLOWEST: Final = 64 << 10
"""Bytes a second that a transfer has to make beyond its first minute."""

SMALL: Final = 4 << 20
"""Bytes of a manifest, as the specification has it, and of any other answer that is read whole."""

_REDIRECTS: Final = 5
_CHUNK: Final = 1 << 18
_SAID_MOST: Final = 300
_CHALLENGE: Final = re.compile(  # a name begins where a word does: no other place in it is tried
    r'(?<![A-Za-z0-9_-])([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))'
)
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read whole.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
        body: at most ``SMALL`` bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> str:
        """What the registry says went wrong, on one line; "" where it says nothing of use."""
        try:
            errors = json.loads(self.body)["errors"]
            texts = [f"{each.get('code', '')} {each.get('message', '')}".strip() for each in errors]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ""
        return "; ".join(text for text in texts if text)[:_SAID_MOST]


@dataclass(slots=True)
class Body:
    """What a request sends: *size* bytes that *read* begins anew each time."""

    size: int
    read: Callable[[], Iterable[bytes]]
    kind: str = "application/octet-stream"


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
    _managers: dict[str, urllib3.PoolManager] = field(
        default_factory=dict, init=False, repr=False
    )  # by proxy
    _sockets: list[socket.socket] = field(default_factory=list, init=False, repr=False)

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
            return self._whole(response, url)

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
                yield self._whole(response, url), iter(())
            else:
                yield None, self._pieces(response, url, size)

    def close(self) -> None:
        """Let go of every connection."""
        for manager in self._managers.values():
            manager.clear()
        while self._sockets:
            self._sockets.pop().close()

    # -- one request, who we are, and where it leads -------------------------------------------------

    @contextmanager
    def _open(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, scope: str
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        where = urljoin(self.base, url)
        response = self._followed(method, where, headers, body)
        try:
            if response.status == 401:
                challenge = response.headers.get("WWW-Authenticate", "")
                response.close()
                self._proof = self._proven(challenge, scope)
                response = self._followed(method, where, headers, body)
            if response.status in (401, 403):
                raise self._denied(self._whole(response, where))
            yield response
        finally:
            response.close()

    def _followed(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None
    ) -> urllib3.BaseHTTPResponse:
        for _ in range(_REDIRECTS):
            own = self._is_registry(url)
            given = {**headers, **({"Authorization": self._proof} if own and self._proof else {})}
            response = self._sent(method, url, given, body)
            if response.status not in _REDIRECTING:
                if response.status == 401 and not own:  # what token service it names is not heeded
                    response.close()
                    raise self._wrong("it redirects to where a proof of who we are is asked for")
                return response
            target = response.headers.get("Location", "")
            response.close()
            if method not in ("GET", "HEAD"):
                # What is to be stored goes where it was sent to, and nowhere else.
                raise self._wrong(f"it sends a {method} elsewhere")
            url = self._led(url, target)
        raise self._wrong(f"it redirects more than {_REDIRECTS} times")

    def _led(self, url: str, target: str) -> str:
        """Return where a redirection leads."""
        try:
            led = urljoin(url, target) if target else ""
        except ValueError:
            led = ""
        if not self._may_speak(led):
            raise self._wrong("it redirects to where no secure connection leads")
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

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None
    ) -> urllib3.BaseHTTPResponse:
        given = {"User-Agent": "mpp-exec", "Accept-Encoding": "identity", **headers}
        data: Any = None
        if body is not None:
            given |= {"Content-Type": body.kind, "Content-Length": str(body.size)}
            data = body.read()
        try:
            with self._ended_after(WHOLE_S + (0 if body is None else body.size) / SLOWEST) as late:
                response = self._manager(url).request(
                    method,
                    url,
                    headers=given,
                    body=data,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,  # nothing but what is there was asked for
                    timeout=urllib3.Timeout(connect=CONNECT_S, read=SILENCE_S),
                )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._too_slow() if late.is_set() else self._unreachable(url, error) from None
        if late.is_set():  # what was cut off in its headers looks whole
            response.close()
            raise self._too_slow()
        return response

    @contextmanager
    def _ended_after(self, seconds: float) -> Iterator[threading.Event]:
        """Cut every connection off when the time is up: each byte alone may come in time for ever."""
        late = threading.Event()
        timer = threading.Timer(seconds, self._cut_off, (late,))
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()

    def _cut_off(self, late: threading.Event) -> None:
        late.set()
        for each in tuple(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = self._proxy(parts.scheme, parts.netloc.lower())
        if proxy not in self._managers:
            # What this system trusts, SSL_CERT_FILE and SSL_CERT_DIR included.
            context = ssl.create_default_context()
            self._managers[proxy] = (
                _proxied(proxy, context) if proxy else urllib3.PoolManager(ssl_context=context)
            )
        manager = self._managers[proxy]
        pool = manager.connection_from_url(url)
        if not isinstance(pool.ConnectionCls, functools.partial):
            # Called to make one, and nothing else.
            pool.ConnectionCls = functools.partial(self._connected, pool.ConnectionCls)  # type: ignore[assignment]
        return manager

    def _connected(self, kind: Callable[..., Any], **options: Any) -> Any:
        """Return a connection of which a descriptor is kept, from before its first byte to the end of it all.

        Those that read it have it by turns: the handshake of TLS, the connection, the answer.
        """
        connection = kind(**options)
        connect = connection._new_conn  # noqa: SLF001 -- what makes the socket, and nothing else does

        def kept() -> socket.socket:
            made: socket.socket = connect()
            self._sockets.append(made.dup())
            return made

        connection._new_conn = kept  # noqa: SLF001
        return connection

    def _proxy(self, scheme: str, netloc: str) -> str:
        if is_loopback(netloc):
            return ""
        proxies = getproxies()  # of the environment
        if proxy_bypass(without_port(netloc)):
            return ""
        proxy = proxies.get(scheme) or proxies.get("all") or ""
        return proxy if not proxy or "://" in proxy else f"http://{proxy}"

    # -- proof of who we are ------------------------------------------------------------------------

    def _proven(self, challenge: str, scope: str) -> str:
        """Return what to prove with, as *challenge* asks for it."""
        scheme, _, rest = challenge.partition(" ")
        words = {name.lower(): quoted or plain for name, quoted, plain in _CHALLENGE.findall(rest)}
        if scheme.lower() == "basic":
            if self.credentials is None or not self.credentials.user:
                raise self._denied(None)
            return _basic(self.credentials)
        realm = words.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            raise self._wrong("it asks for a proof of who we are that is not known here")
        if not self._may_speak(realm):
            raise self._wrong("its token service is not at the end of a secure connection")
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
            response = self._sent("POST", realm, {}, body)
        else:
            mark = "&" if urlsplit(realm).query else "?"
            headers = {} if known is None else {"Authorization": _basic(known)}
            response = self._sent("GET", f"{realm}{mark}{urlencode(asked)}", headers, None)
        try:
            answer = self._whole(response, realm)
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
            raise self._wrong(f"its token service has no token (status {answer.status})")
        return token

    # -- reading, bounded ---------------------------------------------------------------------------

    def _whole(self, response: urllib3.BaseHTTPResponse, url: str) -> Answer:
        body = b"".join(self._pieces(response, url, SMALL, too_much=self._wrong("it says too much")))
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, body)

    def _pieces(
        self, response: urllib3.BaseHTTPResponse, url: str, most: int, too_much: Exception | None = None
    ) -> Iterator[bytes]:
        got = 0
        with self._ended_after(WHOLE_S + most / SLOWEST) as late:
            try:
                while piece := response.read1(min(_CHUNK, most + 1 - got)):
                    got += len(piece)
                    if got > most:
                        raise too_much or PackageError(
                            "registry.digest",
                            f"{self.host} sends more than it says there is",
                            "whatever it is, it is not what was pushed: tell whoever runs the registry",
                        )
                    yield piece
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise self._too_slow() if late.is_set() else self._unreachable(url, error) from None
            if late.is_set():  # what was cut off behind its last piece looks whole
                raise self._too_slow()

    # -- what to say --------------------------------------------------------------------------------

    def _unreachable(self, url: str, error: Exception) -> InternalError:
        where = urlsplit(url).netloc or self.host
        if isinstance(error, urllib3.exceptions.SSLError):
            why = "its certificate is not to be trusted, or it speaks no TLS"
        elif isinstance(error, urllib3.exceptions.NewConnectionError):  # which urllib3 has below a timeout
            why = "nothing answers there, or there is no such host"
        elif isinstance(error, urllib3.exceptions.TimeoutError):
            why = "it does not answer in time"
        else:
            why = f"the connection broke ({type(error).__name__})"
        return InternalError(
            "registry.unreachable", f"{where} cannot be reached: {why}", "check the name and the network"
        )

    def _too_slow(self) -> InternalError:
        return InternalError(
            "registry.unreachable",
            f"{self.host} is too slow: less than {SLOWEST >> 10} KiB a second",
            "try again later; nothing was changed",
        )

    def _wrong(self, what: str) -> InternalError:
        return InternalError(
            "registry.answer",
            f"{self.host} does not answer as a registry does: {what}",
            "check the name, and whether a registry of the OCI distribution specification is there",
        )

    def _denied(self, answer: Answer | None) -> UsageError:
        said = f": {answer.said}" if answer is not None and answer.said else ""
        who = "nobody is logged in there" if self.credentials is None else "who is logged in there may not"
        return UsageError(
            "registry.denied",
            f"{self.host} refuses this, and {who}{said}",
            "log in with any tool that keeps credentials where containers' tools do, such as: "
            f"oras login {self.host}",
        )


def _proxied(proxy: str, context: ssl.SSLContext) -> urllib3.ProxyManager:
    """Return what asks through *proxy*, with the name and password that stand in it."""
    parts = urlsplit(proxy)
    name, at, _ = parts.netloc.rpartition("@")
    headers = {"Proxy-Authorization": _authorization(*unquote(name).partition(":")[::2])} if at else {}
    try:
        return urllib3.ProxyManager(proxy, ssl_context=context, proxy_headers=headers)
    except (urllib3.exceptions.HTTPError, ValueError):
        raise UsageError(
            "registry.proxy",
            f"the proxy at {parts.hostname or 'no host'} cannot be used: it is no HTTP proxy",
            "set HTTPS_PROXY to http://host:port, or the registry's host in NO_PROXY",
        ) from None


def _basic(known: Credentials) -> str:
    return _authorization(known.user, known.password)


def _authorization(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
