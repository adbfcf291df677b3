"""From a folder with an ``mpp.toml`` to a signed package, the same bytes on any machine.

The bytes depend on: what ``mpp.toml`` means, the names and contents of the files, whether their owner
may execute them, and the key. Not on: their order on disk, times, owners, other mode bits, the umask,
the locale, the folder's own name, or what is left out by ``.mppignore``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from mpp_exec.encoding import dumps, sha256_digest
from mpp_exec.errors import PackageError, UsageError
from mpp_exec.package import canonical, entries, source
from mpp_exec.package.archive import Progress
from mpp_exec.package.authoring import MAX_TOML_SIZE, parse_toml
from mpp_exec.package.fields import FieldError
from mpp_exec.package.ignore import IGNORE_FILE, IgnoreRules
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.manifest import Draft, FileEntry, Manifest
from mpp_exec.package.output import file_name, place_of, replacing
from mpp_exec.package.records import Layout
from mpp_exec.package.rules import check_manifest
from mpp_exec.package.writer import ArchiveWriter

MANIFEST_SOURCE: Final = "mpp.toml"
_MAX_IGNORE: Final = 256 * 1024


class Signer(Protocol):
    """What signs: ``trust.cose.ManifestSigner``, or something that keeps its key elsewhere."""

    publisher: str
    public_key: bytes

    def signed_size(self, manifest_size: int) -> int:
        """Return how long :meth:`sign` makes a manifest of *manifest_size* bytes."""

    def sign(self, manifest: bytes) -> bytes:
        """Return ``manifest.cose`` for an encoded manifest."""


@dataclass(frozen=True, slots=True)
class Built:
    """A package that was written to ``path``, ``size`` bytes long; ``digest`` is the package digest."""

    path: Path
    digest: str
    size: int
    manifest: Manifest


def read_draft(folder: str | os.PathLike[str]) -> Draft:
    """Return what the ``mpp.toml`` in *folder* declares.

    Raises:
        UsageError: ``build.no_folder``, ``build.no_manifest``, ``toml.*``, ``schema.*``.
    """
    with _opened(folder) as descriptor:
        return _draft(descriptor, folder)


def build(
    folder: str | os.PathLike[str],
    signer: Signer,
    output: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Built:
    """Check the source in *folder*, sign it, and write the package to *output* at once or not at all.

    *output* is a file, or a folder to put it in under its usual name; None is the working folder. A
    package that is there already is replaced. *progress* is called with bytes of contents.

    Raises:
        UsageError: ``toml.*``, ``schema.*``, ``build.*``, or a code of :mod:`.paths`: all that its
            author can put right.
        InternalError: ``build.io``.
    """
    with _opened(folder) as descriptor:
        draft = _draft(descriptor, folder)
        if draft.publisher != signer.publisher:
            raise UsageError(
                "build.wrong_publisher",
                f"{draft.name} belongs to publisher {draft.publisher}, and the key to {signer.publisher}",
                f"use --key {draft.publisher}, or change the name in {MANIFEST_SOURCE}",
            )
        target = place_of(output, file_name(draft.name, draft.version))
        ignore = IgnoreRules(source.read_text(descriptor, IGNORE_FILE, _MAX_IGNORE) or "")
        files = source.collect(descriptor, ignore, _identity(target))
        source.check_sizes(files)
        planned = draft.seal(
            signer.public_key,
            tuple(FileEntry(file.path, file.size, bytes(32), file.executable) for file in files),
        )
        _check(planned)
        with replacing(target) as written:
            manifest, signed = _write(written, descriptor, planned, files, signer, progress=progress)
    return Built(target, sha256_digest(signed), target.stat().st_size, manifest)


def _draft(descriptor: int, folder: str | os.PathLike[str]) -> Draft:
    text = source.read_text(descriptor, MANIFEST_SOURCE, MAX_TOML_SIZE)
    if text is None:
        raise UsageError(
            "build.no_manifest",
            f"there is no {MANIFEST_SOURCE} in {os.fspath(folder)}",
            "name the folder that has it, or make a new tool with: mpp-exec init DIR",
        )
    return parse_toml(text)


def _check(manifest: Manifest) -> None:
    """Apply the rules that a reader will apply, so that nothing is signed that would be refused."""
    try:
        check_manifest(manifest)
    except FieldError as error:
        raise UsageError(
            f"build.{error.reason}", f"{MANIFEST_SOURCE}: {error.key} {error.message}", error.hint
        ) from None
    except PackageError as error:
        hint = "rename the file, or leave it out with .mppignore"
        raise UsageError(error.code, error.message, hint) from None


def _write(
    written: int,
    folder: int,
    planned: Manifest,
    files: list[source.SourceFile],
    signer: Signer,
    *,
    progress: Progress | None,
) -> tuple[Manifest, bytes]:
    """Write the archive; return the manifest with its digests, and the signed form of it."""
    size = signer.signed_size(len(dumps(canonical.to_value(planned))))
    layout = Layout.of(size, planned.files)
    if size > LIMITS.manifest or layout.size > LIMITS.archive:
        raise UsageError(
            "build.too_large",
            f"the package would have {layout.size} bytes, {size} of them manifest",
            "leave files out with .mppignore, or keep large data outside the package",
        )
    writer = ArchiveWriter(written, layout)
    modules = _modules(planned)
    total = sum(file.size for file in files)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    digests: list[bytes] = []
    for file in files:
        kept = bytearray() if file.path in modules else None
        digests.append(writer.add(_tee(source.read(folder, file), kept, advance)))
        for entry in modules.get(file.path, ()):
            entries.check_entry(bytes(kept or b""), file.path, entry)
    rows = zip(planned.files, digests, strict=True)
    manifest = replace(planned, files=tuple(replace(row, sha256=digest) for row, digest in rows))
    signed = signer.sign(dumps(canonical.to_value(manifest)))
    writer.finish(signed)
    return manifest, signed


def _tee(
    pieces: Iterator[memoryview], kept: bytearray | None, advance: Callable[[int], None]
) -> Iterator[memoryview]:
    """Pass *pieces* on; what was passed on is kept, if wanted, and counted once it has been taken."""
    for piece in pieces:
        size = len(piece)
        if kept is not None:
            kept.extend(piece)
        yield piece
        advance(size)


def _modules(manifest: Manifest) -> dict[str, list[str]]:
    """Return the source files that have entries in them, each with its entries (python only)."""
    modules: dict[str, list[str]] = {}
    if manifest.runtime.kind != "python":
        return modules
    sizes = {file.path: file.size for file in manifest.files}
    roots = ["", *(f"{folder}/" for folder in manifest.runtime.path)]
    for tool in manifest.tools:
        path = entries.module_file(tool.entry.partition(":")[0], roots, set(sizes))
        if path is None or not path.endswith(".py"):
            continue  # the rules found a module; a compiled one keeps what it defines to itself
        if sizes[path] > entries.MAX_SOURCE:
            raise UsageError(
                "build.too_large",
                f"{path} has an entry in it and is larger than {entries.MAX_SOURCE} bytes",
                "put the entry into a small module of its own",
            )
        modules.setdefault(path, []).append(tool.entry)
    return modules


@contextmanager
def _opened(folder: str | os.PathLike[str]) -> Iterator[int]:
    shown = os.fspath(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise UsageError(
            "build.no_folder",
            f"{shown} cannot be opened as a folder: {_reason(error)}",
            "name the folder that has mpp.toml in it",
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _identity(target: Path) -> tuple[int, int] | None:
    try:
        status = target.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
