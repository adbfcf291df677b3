"""Connections to one registry and to where it leads, each bounded in time and size.

Each byte alone may come in time for ever, so a connection can be cut off at any of them, the first included.

Sources: OCI distribution specification 1.1 (sizes), RFC 9110.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

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

Response = urllib3.BaseHTTPResponse
"""An answer with its body unread; whoever has it closes it."""

_CHUNK: Final = 1 << 18
_SAID_MOST: Final = 300


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
class Wire:
    """Sends single requests on behalf of whoever speaks with the registry *host*. Not thread-safe; close it.

    Attributes:
        host: whom errors name.
    """

    host: str
    _managers: dict[str, urllib3.PoolManager] = field(
        default_factory=dict, init=False, repr=False
    )  # by proxy
    _sockets: list[socket.socket] = field(default_factory=list, init=False, repr=False)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Response:
        """Make one request, and return its answer with the body unread; close it.

        Raises:
            InternalError: ``registry.unreachable``.
            UsageError: ``registry.proxy``.
        """
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

    def whole(self, response: Response, url: str) -> Answer:
        """Read all of an answer.

        Raises:
            InternalError: ``registry.answer``: it is longer than ``SMALL``; ``registry.unreachable``.
        """
        body = b"".join(self.pieces(response, url, SMALL, too_much=self.wrong("it says too much")))
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, body)

    def pieces(
        self, response: Response, url: str, most: int, too_much: Exception | None = None
    ) -> Iterator[bytes]:
        """Yield what comes, of *most* bytes at most; raise *too_much* where there are more.

        Raises:
            PackageError: ``registry.digest``, if there is no *too_much*.
            InternalError: ``registry.unreachable``.
        """
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

    def wrong(self, what: str) -> InternalError:
        """Return the error that the registry is none, as *what* says."""
        return InternalError(
            "registry.answer",
            f"{self.host} does not answer as a registry does: {what}",
            "check the name, and whether a registry of the OCI distribution specification is there",
        )

    def close(self) -> None:
        """Let go of every connection."""
        for manager in self._managers.values():
            manager.clear()
        while self._sockets:
            self._sockets.pop().close()

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


def _proxied(proxy: str, context: ssl.SSLContext) -> urllib3.ProxyManager:
    """Return what asks through *proxy*, with the name and password that stand in it."""
    parts = urlsplit(proxy)
    name, at, _ = parts.netloc.rpartition("@")
    headers = {"Proxy-Authorization": basic(*unquote(name).partition(":")[::2])} if at else {}
    try:
        return urllib3.ProxyManager(proxy, ssl_context=context, proxy_headers=headers)
    except (urllib3.exceptions.HTTPError, ValueError):
        raise UsageError(
            "registry.proxy",
            f"the proxy at {parts.hostname or 'no host'} cannot be used: it is not an HTTP proxy",
            "set HTTPS_PROXY to http://host:port, or the registry's host in NO_PROXY",
        ) from None


def basic(user: str, password: str) -> str:
    """Return the value of a header that proves a name by its password (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
