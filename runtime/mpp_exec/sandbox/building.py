"""Builds the mounts of a plan and their Landlock rules together, so that neither is forgotten."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from mpp_exec.consent.grant import Grant
from mpp_exec.errors import HostError
from mpp_exec.package.manifest import Manifest
from mpp_exec.sandbox import interpreter, landlock, layout, native
from mpp_exec.sandbox.layout import Layout

APP = "/app"
SCRATCH = "/tmp"  # noqa: S108 - inside the sandbox, a tmpfs of its own
OTHER_SCRATCH = "/scratch"
"""Where scratch is when /tmp itself is granted, or something in it for reading: Landlock's rights go down
the tree, over mounts, so below a writable scratch that would have no second mechanism, and none against its
FIFOs."""
STORAGE = "/storage"
LAUNCH = "/mpp/launch.pyc"
SEAL = "/mpp/seal.bpf"
SHOWN = "/mpp/shown.json"
BYTECODE = "/mpp/bytecode"
RESTORE = "/mpp/restore"
"""What becomes a saved process (``native/restore.c``), where the tool is imported once."""
TOOL_ID = 1000
HOST_NAME = "mpp"

# No zero: mapped shared, it is memory that no limit sees.
_DEVICES = {"null": True, "random": False, "urandom": False}
_ETC = {
    "passwd": f"tool:x:{TOOL_ID}:{TOOL_ID}::{{home}}:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    "group": f"tool:x:{TOOL_ID}:\nnogroup:x:65534:\n",
    "hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "# names resolve through hosts only\n",
    "host.conf": "multi on\n",
}


class Builder:
    """Makes entries and their Landlock rules side by side: what is mounted is what is named.

    *etc* are files of /etc that stand in the place of those for a sandbox without network.
    """

    def __init__(
        self, abi: int, beside_scratch: tuple[str, ...] = (), etc: Mapping[str, str] | None = None
    ) -> None:
        self.layout = Layout()
        self._etc = _ETC | dict(etc or {})
        self.rules: list[tuple[str, int]] = []
        self._abi = abi
        taken = any(path == SCRATCH or path.startswith(f"{SCRATCH}/") for path in beside_scratch)
        self.scratch_path = OTHER_SCRATCH if taken else SCRATCH
        self.home = f"{self.scratch_path}/home"

    def rule(self, path: str, wanted: int, *, is_dir: bool) -> None:
        """Grant the rights *wanted* on *path* inside, as far as this ABI and a file or folder have them."""
        self.rules.append((path, landlock.access(wanted, self._abi, is_dir=is_dir)))

    def system(
        self, programs: tuple[interpreter.Program, ...], runnable: tuple[interpreter.Program, ...]
    ) -> None:
        """Mount devices, synthetic /etc and host *programs* with what they load.

        Only those that are *runnable* can be executed; another one that the package requires is there
        to be read, by whatever may read it.
        """
        executable = {file.target for program in runnable for file in program.files if file.executable}
        for name, writable in _DEVICES.items():
            self.layout.bind(f"/dev/{name}", f"/dev/{name}", layout.DEVICE)
            wanted = landlock.READ_FILE | (landlock.WRITE_FILE if writable else 0)
            self.rule(f"/dev/{name}", wanted, is_dir=False)
        for name, text in self._etc.items():
            self.layout.file(f"/etc/{name}", text.replace("{home}", self.home).encode())
        zone = os.path.realpath("/etc/localtime")
        if os.path.isfile(zone):  # noqa: PTH113 - beside realpath
            self.layout.bind(zone, "/etc/localtime", layout.READ_ONLY)
        self.rule("/etc", landlock.READ, is_dir=True)
        seen: set[str] = set()
        for program in programs:
            for file in program.files:
                if file.target in seen:
                    continue
                seen.add(file.target)
                is_dir = os.path.isdir(file.source)  # noqa: PTH112
                self.layout.bind(file.source, file.target, layout.CODE)
                wanted = landlock.READ | (landlock.EXECUTE if file.target in executable else 0)
                self.rule(file.target, wanted, is_dir=is_dir)
            if program.path.startswith(f"{interpreter.PROGRAMS}/"):
                self.layout.link("/usr/bin", interpreter.PROGRAMS)  # where scripts and helpers look, too
            for hidden in program.hidden:
                self.layout.cover(hidden, is_dir=True)
            if program.name == "python":
                for name in ("python3", "python"):
                    self.layout.link(f"{interpreter.PYTHON_ROOT}/bin/{name}", program.path.rpartition("/")[2])

    def package(self, app: str, manifest: Manifest) -> None:
        """Mount the installed files."""
        is_code = manifest.runtime.kind != "python" or any(_is_native(file.path) for file in manifest.files)
        # The loader, which Landlock lets start with any granted program, maps what lies on a mount for code.
        self.layout.bind(app, APP, layout.CODE if is_code else layout.READ_ONLY)
        self.rule(APP, landlock.READ, is_dir=True)

    def launcher(self, folder: str, code: bytes, modules: str = "", *, import_once: bool = False) -> None:
        """Mount what runs before a Python tool: *code*, what it loads from *folder*, and *modules*.

        The latter is the archive of the package's modules (``bytecode``), "" without one. *import_once*:
        with what saves its process and what that is restored by.
        """
        self.layout.bind(f"{folder}/_seal.abi3.so", "/mpp/_seal.abi3.so", layout.CODE)
        if modules:
            self.layout.bind(modules, BYTECODE, layout.READ_ONLY)
        self.layout.file(LAUNCH, code)
        self.layout.file(SEAL, b"")  # filled in when the programs are compiled
        self.layout.file(SHOWN, b"")  # filled in when everything else is here
        self.rule("/mpp", landlock.READ, is_dir=True)
        if import_once:
            self.layout.bind(f"{folder}/_snapshot.abi3.so", "/mpp/_snapshot.abi3.so", layout.CODE)
            self.layout.bind(f"{folder}/mpp-restore", RESTORE, layout.CODE)
            self.rule(RESTORE, landlock.EXECUTE | landlock.READ_FILE, is_dir=False)

    def entry_point(self, path: str) -> None:
        """Make the entry of an exec tool executable, where it is a file of the package."""
        if path.startswith(f"{APP}/"):
            self.rule(path, landlock.EXECUTE | landlock.READ_FILE, is_dir=False)

    def scratch(self, size: int) -> None:
        """Mount the private folder that the call may write to."""
        self.layout.scratch(self.scratch_path, size)
        self.layout.folder(self.home, 0o700)
        self.rule(self.scratch_path, landlock.WRITE, is_dir=True)

    def grants(self, grant: Grant, *, read_only: bool) -> None:
        """Mount what the user granted, pins and covers included; all read-only for a read tool."""
        layout.refuse_reserved((*grant.permissions.read, *grant.permissions.write))
        granted = dict.fromkeys(grant.permissions.read, False) | dict.fromkeys(grant.permissions.write, True)
        # A pin is mounted on itself, so that it cannot be renamed and a cover inside it moved away. It may
        # lie inside a read grant that is inside a write grant, and must not open that.
        mounts = {pin: grant.permissions.mounts_writable(pin) for pin in grant.pins()} | granted
        # Outer folders first, so that an inner one is mounted on top of the outer one.
        for path, write in sorted(mounts.items()):
            writable = write and not read_only
            flags = native.ENTRY_IDMAP | (native.ENTRY_WRITABLE if writable else 0)
            attributes = layout.WRITABLE if writable else layout.READ_ONLY
            self.layout.bind(path, path, attributes, flags, grant.identities.get(path))
            if path in granted:
                wanted = landlock.WRITE if writable else landlock.READ
                self.rule(path, wanted, is_dir=granted_kind(path))
        for path in grant.covers:
            if os.path.lexists(path):
                self.layout.cover(path, is_dir=os.path.isdir(path))  # noqa: PTH112

    def storage(self, folder: str, *, read_only: bool) -> None:
        """Mount the private folder that outlives the call."""
        flags = native.ENTRY_IDMAP | (0 if read_only else native.ENTRY_WRITABLE)
        self.layout.bind(folder, STORAGE, layout.READ_ONLY if read_only else layout.WRITABLE, flags)
        self.rule(STORAGE, landlock.READ if read_only else landlock.WRITE, is_dir=True)


def granted_kind(path: str) -> bool:
    """Return whether the granted *path* is a folder.

    Raises:
        HostError: it is gone, unreachable, or neither a folder nor a regular file.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        raise HostError(
            "host.grant_missing",
            f"the granted path {path} cannot be reached: {error.strerror}",
            "put it back, or approve again with another one",
        ) from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise HostError(
            "host.grant_changed",
            f"the granted path {path} is neither a folder nor a regular file any more",
            "put back what was granted, or approve again",
        )
    return stat.S_ISDIR(mode)


def _is_native(path: str) -> bool:
    """Return whether a Python package maps the file at *path* as code: an extension module, or a library."""
    name = path.rpartition("/")[2]
    return name.endswith(".so") or ".so." in name
