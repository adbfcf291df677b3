"""Debian's packages: kernels to boot, fetched and unpacked, never installed; and what is installed here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path


class UnavailableError(Exception):
    """What is needed cannot be had here; the message says what to do."""


def need(programs: dict[str, str]) -> None:
    """Check that *programs*, by the package that has each, are there."""
    missing = sorted(
        {package for name, package in programs.items() if shutil.which(name, path=_PATH) is None}
    )
    if missing:
        raise UnavailableError(f"missing here: apt-get install --no-install-recommends {' '.join(missing)}")


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def fetch_kernel(name: str, packages: list[str], cache: Path) -> Path:
    """Return the folder of kernel *name* (``6.1``), unpacked, from the first of *packages* that apt has."""
    for package in packages:
        found = _concrete(package)
        if found is not None and found[1].startswith(f"{name}."):
            return _unpacked(*found, cache)
    raise UnavailableError(
        f"apt offers no Linux {name}: none of {', '.join(packages)}; apt-get update may help"
    )


def _concrete(package: str) -> tuple[str, str] | None:
    """Return (package, version) of the image that *package* is or depends on, as apt would install it."""
    for _ in range(3):
        text = _output("apt-cache", "--no-all-versions", "show", package, check=False)
        version = re.search(r"^Version: (\S+)$", text, re.MULTILINE)
        if version is None:
            return None
        depends = re.search(r"^Depends:.*?\b(linux-image-[\w.+-]+)", text, re.MULTILINE)
        if depends is None:
            return package, version.group(1)
        package = depends.group(1)
    return None


def _unpacked(package: str, version: str, cache: Path) -> Path:
    folder = cache / f"{package}_{version}"
    if (folder / "boot").is_dir():
        return folder
    fresh = cache / f".{folder.name}.{os.getpid()}"
    fresh.mkdir(parents=True)
    try:
        # apt verifies the signed index and the package's digest in it.
        _output("apt-get", "-qq", "download", f"{package}={version}", cwd=fresh)
        (archive,) = fresh.glob("*.deb")
        _output("dpkg-deb", "--extract", str(archive), str(fresh))
        archive.unlink()
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def fetch_from(release: str, packages: list[str], cache: Path) -> Path:
    """Return a folder with *packages* of Debian *release* (``trixie``), unpacked into one another.

    apt reads a list of its own for it, from where this machine's own packages come.
    """
    folder = cache / f"{release}-{'-'.join(packages)}"
    if folder.is_dir():
        return folder
    fresh = cache / f".{folder.name}.{os.getpid()}"
    for name in ("state/lists/partial", "archives/partial", "tree"):
        (fresh / name).mkdir(parents=True)
    try:
        (fresh / "status").touch()
        (fresh / "its.list").write_text(f"deb {_archive()} {release} main\n")
        own = [
            *("-o", f"Dir::Etc::sourcelist={fresh}/its.list", "-o", "Dir::Etc::sourceparts=-"),
            *("-o", f"Dir::State={fresh}/state", "-o", f"Dir::State::status={fresh}/status"),
            *("-o", f"Dir::Cache={fresh}"),
        ]
        _output("apt-get", *own, "-qq", "update")
        _output("apt-get", *own, "-qq", "download", *packages, cwd=fresh)
        for archive in sorted(fresh.glob("*.deb")):
            _output("dpkg-deb", "--extract", str(archive), str(fresh / "tree"))
        (fresh / "tree").rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _archive() -> str:
    form = ("--format", "$(REPO_URI)", "Created-By: Packages", "Component: main", "Label: Debian")
    found = _output("apt-get", "indextargets", *form).split()
    if not found:
        raise UnavailableError("apt here has no packages of Debian's: apt-get update may help")
    return found[0]


def closure(packages: list[str]) -> dict[str, str]:
    """Return installed packages, name to version: *packages* and all that they depend on."""
    versions: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    providers: dict[str, list[str]] = {}
    form = "${binary:Package}\t${Version}\t${Pre-Depends}, ${Depends}\t${Provides}\t${db:Status-Abbrev}\n"
    for line in _output("dpkg-query", "--show", f"--showformat={form}").splitlines():
        full, version, depends, provides, status = line.split("\t")
        if not status.startswith("ii"):
            continue
        name = full.partition(":")[0]
        versions[name] = version
        needs[name] = re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", depends)
        for provided in re.findall(r"(?:^|,)\s*([a-z0-9][a-z0-9+.-]+)", provides):
            providers.setdefault(provided, []).append(name)
    absent = [name for name in packages if name not in versions]
    if absent:
        raise UnavailableError(f"missing here: apt-get install --no-install-recommends {' '.join(absent)}")
    found: dict[str, str] = {}
    left = list(packages)
    while left:
        name = left.pop()
        for each in [name] if name in versions else providers.get(name, []):
            if each not in found:
                found[each] = versions[each]
                left += needs[each]
    return found


def files_of(packages: dict[str, str]) -> list[Path]:
    """Return every path that *packages* brought, documentation left out."""
    listed = set(_output("dpkg-query", "--listfiles", *packages).splitlines())
    return [Path(line) for line in sorted(listed) if line.startswith("/") and not line.startswith(_SKIPPED)]


_SKIPPED = (
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/locale/",
    "/usr/share/lintian/",
    "/usr/share/info/",
)


def _output(*command: str, check: bool = True, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "PATH": _PATH}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd)
    if check and done.returncode != 0:
        raise UnavailableError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout
