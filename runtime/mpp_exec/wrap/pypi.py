"""A server from a Python index: resolved as of its upload, pinned by hash, its wheels unpacked.

Only wheels are taken: a source distribution runs its own code to be built. The index is the one that pip is
configured for. Sources: PEP 427 (wheels), PEP 425 (their tags), PEP 503 and 691 (index), PEP 700 (upload
times); the lock is what pip reads with ``--require-hashes``.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Final

from mpp_exec import encoding
from mpp_exec.errors import HostError, InternalError, UsageError
from mpp_exec.patterns import lazily
from mpp_exec.wrap.heard import Watch
from mpp_exec.wrap.installers import pip, run_installer
from mpp_exec.wrap.origin import LIBRARY, Fetched, Origin
from mpp_exec.wrap.starter import VENDOR, compile_ahead, write_starter

LOCK: Final = "requirements.lock"
_ASK_INDEX: Final = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
"""Which index pip takes where none is configured: no option of its own tells."""
_SIMPLE: Final = "application/vnd.pypi.simple.v1+json"
_DATED: Final = 26
"""The major version of pip that has ``--uploaded-prior-to``."""
_TELLING: Final = 25
"""One that says in plain lines how much of a file has come."""
_GLIBC: Final = range(17, 36)
"""Minor versions of glibc 2 that a wheel of another platform may ask for (PEP 600)."""
_MAX_PAGE: Final = 64 << 20


def fetch(
    origin: Origin,
    folder: Path,
    *,
    constraints: Sequence[str],
    as_of: datetime | None,
    latest: bool,
    script: str,
    platforms: Sequence[str] = (),
    watch: Watch = Watch(),  # noqa: B008 -- frozen
) -> Fetched:
    """Unpack the server of *origin* and all it needs into *folder*.

    *as_of* is the moment that versions are looked at; without it the end of the day on which the server was
    uploaded, or now (*latest*). *script* is the console script that is the server, "" for the obvious one.
    *platforms* are those that compiled wheels are taken for beside this one's. *watch* is told what is done.

    Raises:
        HostError, UsageError, InternalError: pip failed, or the project has no such script.
    """
    notes: list[str] = []
    plainly = ("--progress-bar", "raw" if _require_pip() >= _TELLING else "off")
    if as_of is None and not latest:
        watch.tell("looking up when it was uploaded")
        as_of = uploaded(origin)
        if as_of is None:
            notes.append(
                "the index does not say when this was uploaded: what it needs was resolved as of now"
            )
    if as_of is not None:
        _require_pip(_DATED)
    work = folder / ".wrap"
    work.mkdir()
    (work / "constraints.txt").write_text("".join(f"{each}\n" for each in constraints))
    report = work / "report.json"
    before = [] if as_of is None else ["--uploaded-prior-to", as_of.strftime("%Y-%m-%dT%H:%M:%SZ")]
    wheels_only = ["--only-binary", ":all:", "--no-cache-dir", *plainly]
    run_installer(
        [
            *pip(),
            *("install", "--dry-run", "--ignore-installed", *wheels_only, *before, "--report", str(report)),
            *("--constraint", "constraints.txt", "--target", "unused", f"{origin.name}=={origin.version}"),
        ],
        work,
        step="choosing versions",
        watch=watch,
        variables=_dated(work) if before else None,
    )
    chosen = _chosen(report)
    (folder / LOCK).write_text(
        "".join(f"{name}=={version} --hash=sha256:{digest}\n" for name, version, digest, _ in sorted(chosen))
    )
    shutil.copyfile(folder / LOCK, work / LOCK)
    run_installer(
        [
            *pip(),
            *("install", "--no-deps", "--require-hashes", "--no-compile", *wheels_only),
            *("--target", VENDOR, "--requirement", LOCK),
        ],
        work,
        step="fetching them",
        watch=watch,
    )
    shutil.rmtree(work / VENDOR / "bin", ignore_errors=True)  # starters for an interpreter of this host
    compile_ahead(work, folder, watch)
    (work / VENDOR).rename(folder / VENDOR)
    compiled = [each for each in sorted(chosen) if _platform_tag(each[3]) != "any"]
    for platform in platforms if compiled else ():
        _take_compiled(work, folder, platform, compiled, watch)
    shutil.rmtree(work)
    about = _dist_info(folder / VENDOR, origin)
    name, body = _starter(folder / VENDOR, about, origin, script)
    write_starter(folder, name, body)
    requires, own = _needs([url for *_, url in chosen])
    headers = Parser().parsestr((about / "METADATA").read_text(errors="replace"), headersonly=True)
    return Fetched(
        command=("python", "${app}/run.py"),
        requires=(requires,),
        platforms=tuple(sorted({*own, *platforms})) if own else (),
        name=name,
        version=origin.version,
        description=headers.get("Summary", ""),
        license=headers.get("License-Expression", headers.get("License", "")),
        homepage=_homepage(headers),
        notes=tuple(notes),
    )


def _take_compiled(
    work: Path, folder: Path, platform: str, compiled: Sequence[tuple[str, str, str, str]], watch: Watch
) -> None:
    """Unpack the same versions of what is *compiled*, as built for *platform*, beside what is for this one.

    Raises:
        HostError: ``wrap.installer``: one of them is not published for it.
    """
    machine = platform.removeprefix("linux-")
    tags = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC] + [f"manylinux2014_{machine}"]
    target = f"{VENDOR}-{machine}"
    report = work / f"{target}.json"
    common = [
        *("install", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "off"),
        *("--target", target),
        *(word for tag in tags for word in ("--platform", tag)),
        *("--implementation", "cp", "--python-version", f"{sys.version_info[0]}.{sys.version_info[1]}"),
    ]
    pins = [f"{name}=={version}" for name, version, *_ in compiled]
    step = f"fetching what is compiled for {platform}"
    run_installer(
        [*pip(), *common, "--dry-run", "--ignore-installed", "--report", str(report), *pins],
        work,
        step=step,
        watch=watch,
    )
    lock = f"requirements-{machine}.lock"
    text = "".join(
        f"{name}=={version} --hash=sha256:{digest}\n" for name, version, digest, _ in sorted(_chosen(report))
    )
    (folder / lock).write_text(text)
    (work / lock).write_text(text)
    run_installer(
        [*pip(), *common, "--no-compile", "--require-hashes", "--requirement", lock],
        work,
        step=step,
        watch=watch,
    )
    shutil.rmtree(work / target / "bin", ignore_errors=True)
    (work / target).rename(folder / target)


def _require_pip(least: int = 0) -> int:
    """Return the major version of this interpreter's pip.

    Raises:
        HostError: ``wrap.installer``: it has none, or one below *least*.
    """
    python = shlex.quote(sys.executable)
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        raise HostError(
            "wrap.installer",
            "the Python that mpp-exec runs in has no pip, which fetches a server",
            f"{python} -m ensurepip --upgrade",
        ) from None
    major = int(version.partition(".")[0])
    if major < least:
        raise HostError(
            "wrap.installer",
            f"pip {version} cannot choose versions as of a day, pip {least} can",
            f"{python} -m pip install --upgrade pip; or take what is there now: --latest",
        )
    return major


def uploaded(origin: Origin) -> datetime | None:
    """Return the end of the day on which *origin* was uploaded, None where the index does not say.

    A day, since what is published together (a server and a library of the same author) is not published in
    the same second.
    """
    page = f"{_index().rstrip('/')}/{_normalized(origin.name)}/"
    if not page.startswith("https://"):
        return None
    trusted = os.environ.get("PIP_CERT") or _configured("global.cert") or None
    try:
        context = ssl.create_default_context(cafile=trusted)
        request = urllib.request.Request(page, headers={"Accept": _SIMPLE})  # noqa: S310 -- https
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:  # noqa: S310
            data = answer.read(_MAX_PAGE)
        files = encoding.json_loads(data, max_size=_MAX_PAGE)["files"]
        times = [
            each["upload-time"]
            for each in files
            if re.match(rf"{_pattern(origin)}(?:-|\.tar|\.zip)", each["filename"], re.IGNORECASE)
        ]
        last = max(datetime.fromisoformat(time) for time in times)
    except (OSError, ValueError, LookupError, TypeError, encoding.JsonError):
        return None
    return last.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _dated(work: Path) -> dict[str, str]:
    """Return variables that leave pip the sources that say when a file was uploaded.

    Files of a folder have no such time, and pip takes them for older than any.
    """
    (work / "none").mkdir()
    extra = (os.environ.get("PIP_EXTRA_INDEX_URL") or _configured("global.extra-index-url")).split()
    distant = [url for url in extra if not url.startswith(("file:", "/", "."))]
    # pip passes over a variable that is empty, and takes the value of its configuration.
    return {
        "PIP_FIND_LINKS": str(work / "none"),
        "PIP_EXTRA_INDEX_URL": " ".join(distant) or _index(),
    }


def _index() -> str:
    """Return the index that pip uses.

    Raises:
        UsageError: ``wrap.no_index``, it does not say.
    """
    python = pip()[0]
    named = os.environ.get("PIP_INDEX_URL") or _configured("global.index-url")
    index = named or _said(python, "-c", _ASK_INDEX)
    if not index:
        raise UsageError("wrap.no_index", "pip does not say which index it uses", "set PIP_INDEX_URL")
    return index


def _configured(name: str) -> str:
    return _said(*pip(), "config", "get", name)


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pattern(origin: Origin) -> str:
    name = "[-_.]+".join(map(re.escape, re.split(r"[-_.]+", origin.name)))
    return f"{name}-{re.escape(origin.version)}"


def _chosen(report: Path) -> list[tuple[str, str, str, str]]:
    """Return name, version, SHA-256 and address of each wheel that pip's report lists."""
    try:
        document = encoding.json_loads(report.read_bytes(), max_size=_MAX_PAGE)
        found = []
        for each in document["install"]:
            info = each["download_info"]
            row = (
                each["metadata"]["name"],
                each["metadata"]["version"],
                info["archive_info"]["hashes"]["sha256"],
            )
            found.append((*row, info["url"]))
    except (OSError, LookupError, TypeError, encoding.JsonError) as error:
        raise InternalError(
            "wrap.report", f"pip's report cannot be read: {error}", "is pip a recent one?"
        ) from None
    return found


def _dist_info(vendor: Path, origin: Origin) -> Path:
    wanted = lazily(rf"{_pattern(origin)}\.dist-info", re.IGNORECASE)
    for each in vendor.iterdir():
        if wanted.fullmatch(each.name):
            return each
    found = [
        each
        for each in vendor.glob("*.dist-info")
        if _normalized(each.name).startswith(_normalized(origin.name))
    ]
    if not found:
        raise InternalError("wrap.report", f"pip did not unpack {origin.name}", "try again")
    return found[0]


class _NamesAsTheyAre(configparser.ConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _starter(vendor: Path, about: Path, origin: Origin, script: str) -> tuple[str, str]:
    """Return the name of the server's script and the lines that start it.

    Raises:
        UsageError: ``wrap.no_script``: there is none of that name, or not one obvious one.
    """
    parser = _NamesAsTheyAre(delimiters=("=",), interpolation=None)
    points = about / "entry_points.txt"
    if points.exists():
        parser.read_string(points.read_text(errors="replace"))
    scripts = dict(parser["console_scripts"]) if parser.has_section("console_scripts") else {}
    name = script or next((each for each in scripts if _normalized(each) == _normalized(origin.name)), "")
    if not name and len(scripts) == 1:
        (name,) = scripts
    if name in scripts:
        module, _, function = scripts[name].partition("[")[0].strip().partition(":")
        if all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
            first = function.partition(".")[0]
            return name, f"from {module} import {first}\n\nsys.exit({function}())"
    module = _normalized(origin.name).replace("-", "_")
    if not script and (vendor / module / "__main__.py").exists():
        return (
            origin.name,
            f'import runpy\n\nrunpy.run_module("{module}", run_name="__main__", alter_sys=True)',
        )
    raise UsageError(
        "wrap.no_script",
        f"{origin.name} has no script {script}"
        if script
        else f"{origin.name} does not say how it is started",
        f"--script NAME names one of: {', '.join(sorted(scripts))}" if scripts else LIBRARY,
    )


def _needs(urls: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the interpreter and the platforms that wheels with these file names need (PEP 425, PEP 427)."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    exact = any(_python_tag(url).startswith("cp") and _abi_tag(url) != "abi3" for url in urls)
    bound = any(_platform_tag(url) != "any" for url in urls)
    requires = f"python=={minor}.*" if exact else "python>=3.11"
    return requires, (f"linux-{os.uname().machine}",) if bound else ()


def _tags(url: str) -> list[str]:
    return url.rpartition("/")[2].removesuffix(".whl").split("-")[-3:]


def _python_tag(url: str) -> str:
    return _tags(url)[0]


def _abi_tag(url: str) -> str:
    return _tags(url)[1]


def _platform_tag(url: str) -> str:
    return _tags(url)[2]


def _homepage(headers: Message) -> str:
    links = [each.partition(",") for each in headers.get_all("Project-URL", [])]
    named = {label.strip().lower(): link.strip() for label, _, link in links}
    return headers.get("Home-page") or named.get("homepage") or named.get("repository") or ""
