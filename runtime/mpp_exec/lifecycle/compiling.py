"""Compiles the modules of an installed Python package, once.

Without that its tools run as well, and only start later: nothing here is a reason to fail.
"""

from __future__ import annotations

import contextlib
import os

from mpp_exec.errors import MppError
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.unpacked import fingerprint
from mpp_exec.registry.records import Installed
from mpp_exec.sandbox import kernel, spaces
from mpp_exec.sandbox.bytecode import compile_modules, modules_of
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.planning import required


def compile_ahead(session: Session, installed: Installed) -> None:
    """Keep what is compiled of *installed* where its calls find it, and forget what is installed no more."""
    cache = SandboxCache(session.home.cache)
    try:
        with contextlib.suppress(MppError):
            _compile(session, installed, cache)
    finally:
        # Behind it: who uninstalls the package meanwhile has looked before there was anything to forget.
        _forget(session, cache)


def forget_compiled(session: Session) -> None:
    """Remove what was compiled of packages that are not installed any more."""
    _forget(session, SandboxCache(session.home.cache))


def _compile(session: Session, installed: Installed, cache: SandboxCache) -> None:
    _, verified = session.verified(installed.name)
    manifest = verified.manifest
    modules = modules_of(manifest.files)
    # Only a namespace keeps the compiler from what this user may do.
    if manifest.runtime.kind != "python" or not modules or spaces.missing() is not None:
        return
    python = next(cache.program(each) for each in required(manifest) if each.name == "python")
    there = cache.modules(installed.digest, python)
    if there is None or there.is_good:
        return
    with session.store.leased(installed) as folder:
        place = os.path.realpath(session.home.package_folder(installed.digest) / "files")
        archive = compile_modules(modules, place, python, kernel.probe(), cache)
        # Of the files that were verified, and of no others that were there for a moment.
        if fingerprint(folder, manifest.files) == verified.fingerprint:
            cache.keep_modules(installed.digest, python, archive)


def _forget(session: Session, cache: SandboxCache) -> None:
    with contextlib.suppress(MppError):  # where the home cannot be read, the next one forgets it
        cache.forget_modules([each.digest for each in session.store.installed()])
