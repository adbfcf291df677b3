"""Private keys on disk: the folder ``HOME/keys``, 0700, one file of 0600 for each publisher.

A publisher's file is two lines of text::

    mpp-exec-private-key/1 acme plain sha256:<64 hex: the key id>
    <base64 of the 32-byte Ed25519 seed>

    mpp-exec-private-key/1 acme argon2id sha256:<64 hex: the key id>
    <base64 of salt (16 bytes), nonce (24), authenticator (16) and encrypted seed (32)>

The second form is secretbox (XSalsa20-Poly1305) under argon2id of the passphrase, 3 passes over
256 MiB; another cost would be another version of the format. A file is accepted only if it is
exactly what would be written for the key it holds, and that key has the id in the first line.

The key of the home itself is 32 raw bytes in ``_home.key``: no publisher's name begins with ``_``.

A key that is to replace another is named ``acme.next`` until it does. The replaced key stays as
``acme.former-<8 hex digits of its id>.key``; nothing here signs with it any more.

Files appear whole or not at all, and a key is never overwritten.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mpp_exec.errors import ConsentError, InternalError, UsageError
from mpp_exec.patterns import lazily
from mpp_exec.trust.keys import (
    SALT_BYTES,
    SEALED_OVERHEAD,
    SEED_BYTES,
    HomeKey,
    SealError,
    SigningKey,
    open_sealed,
    passphrase_key,
    random_bytes,
    seal,
)
from mpp_exec.trust.publishers import PUBLISHER_NAME

_MAGIC: Final = "mpp-exec-private-key/1"
HOME_KEY: Final = "_home.key"
_MAX_FILE: Final = 1024  # bytes; the longest well-formed file has 279
_FILE = lazily(
    rf"{re.escape(_MAGIC)} (?P<publisher>{PUBLISHER_NAME.pattern}) (?P<form>plain|argon2id) "
    r"(?P<key_id>sha256:[0-9a-f]{64})\n(?P<body>[A-Za-z0-9+/]+={0,2})\n"
)


class KeyFolder:
    """The private keys of one home. *path* is ``HOME/keys``; it is created when the first key is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def publishers(self) -> list[str]:
        """Return the names that have a private key here, sorted."""
        try:
            with self._opened() as folder:
                names = os.listdir(folder)  # noqa: PTH208 -- the folder that was checked, not its path again
        except FileNotFoundError:
            return []
        stems = [name.removesuffix(".key") for name in names if name.endswith(".key")]
        return sorted(stem for stem in stems if PUBLISHER_NAME.fullmatch(stem))

    def create(self, publisher: str, passphrase: str | None = None) -> SigningKey:
        """Make a key pair for *publisher* and keep it, encrypted if there is a passphrase.

        Raises:
            UsageError: ``key.bad_publisher``, ``key.exists`` or ``key.empty_passphrase``.
            ConsentError: ``key.exposed``, the folder is open to others.
            InternalError: ``key.io``, the disk said no.
        """
        return self._create(publisher, f"{publisher}.key", passphrase)

    def _create(self, publisher: str, name: str, passphrase: str | None) -> SigningKey:
        _check_publisher(publisher)
        key = SigningKey.generate()
        text = _format(publisher, key, passphrase)
        with self._opened(create=True) as folder:
            try:
                _write_new(folder, name, text.encode())
            except FileExistsError:
                raise UsageError(
                    "key.exists",
                    f"publisher {publisher} already has a private key in {self.path / name}",
                    "a key is never overwritten; move the file away if it is really to be replaced",
                ) from None
        return key

    def discard(self, publisher: str, key: SigningKey) -> None:
        """Remove *key*, which :meth:`create` has just made and which nobody trusts: the operation failed.

        Raises:
            ConsentError, InternalError: as :meth:`create`.
        """
        found = self._header(publisher, f"{publisher}.key")
        if found is not None and found["key_id"] == key.key_id:
            with self._opened(create=True) as folder:
                os.unlink(f"{publisher}.key", dir_fd=folder)
                os.fsync(folder)

    def _load(self, publisher: str, name: str, passphrase: str | None) -> SigningKey:
        _check_publisher(publisher)
        try:
            with self._opened() as folder:
                data = _read(folder, name, self.path)
        except FileNotFoundError:
            raise UsageError(
                "key.not_found",
                f"there is no private key of publisher {publisher} in {self.path}",
                f"make one with: mpp-exec keygen {publisher}",
            ) from None
        return _parse(publisher, data, passphrase, self.path / name)

    def load(self, publisher: str, passphrase: str | None = None) -> SigningKey:
        """Return the key of *publisher*.

        Raises:
            UsageError: ``key.bad_publisher``, ``key.not_found``, ``key.malformed``.
            ConsentError: ``key.needs_passphrase``, ``key.wrong_passphrase``, ``key.exposed``.
            InternalError: ``key.io``.
        """
        return self._load(publisher, f"{publisher}.key", passphrase)

    def next_id(self, publisher: str) -> str | None:
        """Return the id of the key that is to replace the key of *publisher*, None if there is none.

        Raises:
            UsageError: ``key.malformed``.
            ConsentError: ``key.exposed``.
            InternalError: ``key.io``.
        """
        found = self._header(publisher, f"{publisher}.next")
        return None if found is None else found["key_id"]

    def is_encrypted(self, publisher: str) -> bool:
        """Return whether the private key of *publisher* needs a passphrase; False if there is no key.

        Raises as :meth:`next_id`.
        """
        found = self._header(publisher, f"{publisher}.key")
        return found is not None and found["form"] != "plain"

    def _header(self, publisher: str, name: str) -> re.Match[str] | None:
        try:
            with self._opened() as folder:
                data = _read(folder, name, self.path)
        except FileNotFoundError:
            return None
        match = _FILE.fullmatch(data.decode("ascii", "replace"))
        if match is None or match["publisher"] != publisher:
            raise _malformed(self.path / name, f"is not a private key of publisher {publisher}")
        return match

    def create_next(self, publisher: str, passphrase: str | None = None) -> SigningKey:
        """Make the key pair that is to replace the key pair of *publisher*.

        Raises:
            UsageError: ``key.exists``: there is one, from a rotation that was not completed.
            ConsentError, InternalError: as :meth:`create`.
        """
        return self._create(publisher, f"{publisher}.next", passphrase)

    def load_next(self, publisher: str, passphrase: str | None = None) -> SigningKey:
        """Return the key that is to replace the key of *publisher*. Raises as :meth:`load`."""
        return self._load(publisher, f"{publisher}.next", passphrase)

    def promote_next(self, publisher: str, former_id: str) -> Path:
        """Replace the key with *former_id* by the next key of *publisher*; return the former key's new path.

        May be repeated after a crash at any instruction.

        Raises:
            ConsentError: ``key.exposed``.
            InternalError: ``key.io``.
        """
        name, former = f"{publisher}.key", f"{publisher}.former-{former_id.removeprefix('sha256:')[:8]}.key"
        with self._opened(create=True) as folder:
            with suppress(FileExistsError):  # an earlier attempt got this far
                os.link(name, former, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            os.fsync(folder)
            os.rename(f"{publisher}.next", name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        return self.path / former

    def home_key(self) -> HomeKey:
        """Return the key of this home, making it if there is none.

        If several processes do so at once, one makes the key and all get the same key.

        Raises:
            UsageError: ``key.malformed``.
            ConsentError: ``key.exposed``.
            InternalError: ``key.io``.
        """
        with self._opened(create=True) as folder:
            try:
                data = _read(folder, HOME_KEY, self.path)
            except FileNotFoundError:
                with suppress(FileExistsError):  # another process was faster: its key is the key
                    _write_new(folder, HOME_KEY, random_bytes(SEED_BYTES))
                data = _read(folder, HOME_KEY, self.path)
        if len(data) != SEED_BYTES:
            raise UsageError(
                "key.malformed",
                f"{self.path / HOME_KEY} is not a home key: it has {len(data)} bytes",
                "restore it from a backup; without it, stored secrets and the ledger's seal cannot be read",
            )
        return HomeKey(data)

    @contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[int]:
        """Open the folder without following a link, refusing one that others could look into."""
        try:
            if create:
                with suppress(FileExistsError):
                    self.path.mkdir(mode=0o700)
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if create:
                raise _io_error(self.path, "its parent folder does not exist") from None
            raise
        except OSError as error:
            raise _io_error(self.path, error) from None
        try:
            _refuse_exposed(os.fstat(folder), self.path, "700")
            yield folder
        except OSError as error:
            if isinstance(error, FileExistsError) or (isinstance(error, FileNotFoundError) and not create):
                raise  # an answer, which the caller gives its own words
            raise _io_error(self.path, error) from None
        finally:
            os.close(folder)


def _check_publisher(publisher: str) -> None:
    if not PUBLISHER_NAME.fullmatch(publisher):
        raise UsageError(
            "key.bad_publisher",
            f"{publisher!r} is not a publisher name",
            "a publisher is up to 63 of a-z, 0-9 and '-', beginning with a letter or digit",
        )


def _format(publisher: str, key: SigningKey, passphrase: str | None) -> str:
    if passphrase is None:
        form, body = "plain", key.secret_seed()
    elif not passphrase:
        raise UsageError(
            "key.empty_passphrase", "the passphrase is empty", "leave --passphrase out to store the key plain"
        )
    else:
        salt = random_bytes(SALT_BYTES)
        form, body = "argon2id", salt + seal(passphrase_key(passphrase, salt), key.secret_seed())
    return f"{_MAGIC} {publisher} {form} {key.key_id}\n{base64.b64encode(body).decode()}\n"


def _parse(publisher: str, data: bytes, passphrase: str | None, path: Path) -> SigningKey:
    match = _FILE.fullmatch(data.decode("ascii", "replace"))
    if match is None or match["publisher"] != publisher:
        raise _malformed(path, f"is not a private key of publisher {publisher}")
    try:
        body = base64.b64decode(match["body"], validate=True)
    except binascii.Error:
        raise _malformed(path, "is damaged") from None
    if base64.b64encode(body).decode() != match["body"]:
        raise _malformed(path, "is damaged")
    if match["form"] == "plain":
        seed = body
    elif len(body) != SALT_BYTES + SEALED_OVERHEAD + SEED_BYTES:
        raise _malformed(path, "is damaged")
    elif passphrase is None:
        raise ConsentError(
            "key.needs_passphrase",
            f"the private key of publisher {publisher} is encrypted",
            "run the command on a terminal, where it can ask for the passphrase",
        )
    else:
        try:
            seed = open_sealed(passphrase_key(passphrase, body[:SALT_BYTES]), body[SALT_BYTES:])
        except SealError:
            raise ConsentError(
                "key.wrong_passphrase",
                f"the passphrase does not open the private key of publisher {publisher}",
                "try again; a forgotten passphrase cannot be recovered",
            ) from None
    if len(seed) != SEED_BYTES:
        raise _malformed(path, "is damaged")
    key = SigningKey(seed)
    if key.key_id != match["key_id"]:
        raise _malformed(path, "is damaged: it holds another key than its first line names")
    return key


def _malformed(path: Path, what: str) -> UsageError:
    return UsageError("key.malformed", f"{path} {what}", "restore the file from a backup")


def _io_error(path: Path, error: OSError | str) -> InternalError:
    reason = error if isinstance(error, str) else (error.strerror or str(error))
    return InternalError(
        "key.io",
        f"{path} cannot be used: {reason}",
        "check that the home's keys folder is an ordinary folder on a writable disk with free space",
    )


def _refuse_exposed(status: os.stat_result, path: Path, mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise ConsentError(
            "key.exposed",
            f"{path} belongs to user {status.st_uid}, not to you ({os.geteuid()})",
            "use a home of your own: --home DIR or MPP_HOME",
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConsentError(
            "key.exposed",
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            f"if nobody has read it, close it: chmod {mode} {path}",
        )


def _read(folder: int, name: str, where: Path) -> bytes:
    """Read one small private file of *folder*; a link, a FIFO or somebody else's file is refused."""
    path = where / name
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _malformed(path, "is a symbolic link") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _malformed(path, "is not a regular file")
        _refuse_exposed(status, path, "600")
        data = os.read(descriptor, _MAX_FILE + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_FILE:
        raise _malformed(path, "is too large to be a key")
    return data


def _write_new(folder: int, name: str, data: bytes) -> None:
    """Create the file *name* with *data*, durably and atomically; FileExistsError if it exists.

    The file has no name until it is complete (open(2), O_TMPFILE), so a crash leaves nothing. Some file
    systems lack O_TMPFILE (NFS, older overlayfs): there the file has a temporary name for a moment.
    """
    try:
        descriptor = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT}:
            raise
        _write_new_by_name(folder, name, data)
        return
    try:
        _fill(descriptor, data)
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(descriptor)
    os.fsync(folder)


def _write_new_by_name(folder: int, name: str, data: bytes) -> None:
    temporary = f".{random_bytes(8).hex()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        _fill(descriptor, data)
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    finally:
        os.close(descriptor)
        os.unlink(temporary, dir_fd=folder)
    os.fsync(folder)


def _fill(descriptor: int, data: bytes) -> None:
    os.fchmod(descriptor, 0o600)  # whatever the umask was
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)
