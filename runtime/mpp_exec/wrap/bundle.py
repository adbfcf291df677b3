"""A server from an MCP bundle (``.mcpb``, ``.dxt``), or from a folder with the command that starts it.

Source: modelcontextprotocol/mcpb, MANIFEST.md, versions 0.1 to 0.4. A bundle's own signature says nothing
here: whoever wraps it signs.
"""

from __future__ import annotations

import encodings.cp437  # noqa: F401 -- zipfile looks for it late, where nothing but the folder can be read
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.confined import run_confined
from mpp_exec.errors import MppError, UsageError
from mpp_exec.package.fields import nearest
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.paths import check_path
from mpp_exec.package.requirement import INTERPRETERS
from mpp_exec.patterns import lazily
from mpp_exec.wrap.cautions import ICONS
from mpp_exec.wrap.launchers import hint_for
from mpp_exec.wrap.origin import Fetched, Origin

_MANIFEST: Final = "manifest.json"
_MAX_MANIFEST: Final = 1 << 20
_MAX_SHEBANG: Final = 256
_CHUNK: Final = 1 << 20
_SHOWN: Final = 20  # files of a folder that a hint chooses from
_LINKS: Final = 8  # that are named
_LEFT_OUT: Final = (".git", "__pycache__", ".venv")
_TYPES: Final = ("string", "number", "boolean", "directory", "file")
_SCRIPT: Final = lazily(r"[^-$/].*\.(?:py|[cm]?[jt]s|sh|pl|php|rb|lua)")
_COMPILED: Final = lazily(r"\.(?:node|so(?:\.\d+)*)$")
_FOR_PYTHON: Final = lazily(r"\.cpython-3(\d+)-[^.]*linux[^.]*\.so$")  # PEP 3149
_NEEDS: Final = {"python": "python>=3.11", "node": "node>=18"}


def fetch_bundle(origin: Origin, folder: Path) -> Fetched:
    """Unpack the bundle of *origin* into *folder* and read its manifest.

    Raises:
        UsageError: ``wrap.bundle``: it is none, or one that cannot be self-contained.
        HostError: ``host.no_landlock``: nothing was unpacked.
    """
    try:
        opened = open(origin.name, "rb")  # noqa: PTH123, SIM115 -- closed below, by whoever unpacks
    except OSError as error:
        raise UsageError(
            "wrap.bundle", f"{origin.name} cannot be read: {error.strerror}", "check it"
        ) from None
    with opened:
        run_confined(lambda: _unpack(opened, folder), write=(folder,))
    about = _manifest(folder)
    server = _table(about, "server")
    if server.get("type") == "uv":
        raise _refused(
            "is of type uv, which downloads what it needs when it starts", "wrap its project: pypi:…"
        )
    config = _table(server, "mcp_config")
    config |= _table(_table(config, "platform_overrides"), "linux")
    command = [_text(config, "command"), *_texts(config, "args")]
    words = [_placed(command[0]), *(_placed(_found(word, folder)) for word in command[1:])]
    variables = _table(config, "env").items()
    env = {name: _placed(_found(text, folder)) for name, text in variables if isinstance(text, str)}
    settings, notes = _settings(_table(about, "user_config"), words, env)
    _refuse_secrets(words, settings)
    words = _with_interpreter(words, folder)
    program = Path(words[0].removeprefix("${app}/")).name
    bound = _bound(folder)
    requires = _requirement(program, _table(_table(about, "compatibility"), "runtimes"), bound)
    notes += [ICONS] if about.get("icon") or about.get("icons") else []
    notes += _elsewhere(_table(about, "compatibility").get("platforms"))
    if not requires:
        words[0] = os.path.normpath(words[0].removeprefix("${app}/"))
        _program_of(folder, words).chmod(0o755)
    return Fetched(
        command=tuple([_short(program), *words[1:]] if requires else words),
        requires=requires,
        platforms=() if requires and bound is None else (f"linux-{os.uname().machine}",),
        name=_text(about, "name"),
        version=_text(about, "version"),
        description=_text(about, "description"),
        license=about["license"] if isinstance(about.get("license"), str) else "",
        homepage=about["homepage"] if isinstance(about.get("homepage"), str) else "",
        env=env,
        settings=settings,
        notes=tuple(notes),
    )


def fetch_folder(origin: Origin, folder: Path, command: Sequence[str]) -> Fetched:
    """Copy the folder of *origin* into *folder*; *command* starts the server from there.

    A word of the command that names a file of the folder becomes that file's place in the package.

    Raises:
        UsageError: ``wrap.folder``.
    """
    source = Path(origin.name)
    if not source.is_dir():
        raise UsageError("wrap.folder", f"{source} is not a folder", "name the folder of the server")
    if not command:
        raise UsageError(
            "wrap.folder", "the command is missing", f"wrap dir:{source} -o DIR -- python server.py"
        )
    shutil.copytree(
        source, folder, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT_OUT)
    )
    notes = _follow_links(source, folder)
    first, *rest = _with_interpreter(command, folder)
    bound = _bound(folder)
    requires = _requirement(first, {}, bound)
    if not requires and not (folder / first).is_file():
        raise UsageError(
            "wrap.folder",
            f"{first} is neither a file of {source} nor an interpreter",
            hint_for(command, f"interpreters: {', '.join(INTERPRETERS)}"),
        )
    script = next((word for word in rest if _SCRIPT.fullmatch(word)), "")
    if requires and script and not (folder / script).exists():
        found = islice(source.rglob(f"*{Path(script).suffix}"), _SHOWN)
        files = [str(path.relative_to(source)) for path in found]
        raise UsageError("wrap.folder", f"{script} is not a file of {source}", nearest(script, files))
    words = [
        f"${{app}}/{word}" if (folder / word).exists() and not word.startswith("/") else word for word in rest
    ]
    name = source.resolve().name
    return Fetched(
        command=(_short(first) if requires else first, *words),
        requires=requires,
        platforms=() if bound is None else (f"linux-{os.uname().machine}",),
        name=name,
        version="0.1.0",
        notes=notes,
    )


def _with_interpreter(command: Sequence[str], folder: Path) -> list[str]:
    """Return *command*, with the interpreter that its first line names where it starts a script of *folder*.

    Source: execve(2). The kernel would look for that interpreter at a path where a sandbox has none.
    """
    path = os.path.normpath(command[0].removeprefix("${app}/"))
    if _short(path) in INTERPRETERS:
        return list(command)
    try:
        check_path(path)
        with (folder / path).open("rb") as opened:
            line = opened.readline(_MAX_SHEBANG)
    except (MppError, OSError):
        return list(command)
    if not line.startswith(b"#!"):
        return list(command)
    words = [
        Path(word).name for word in line[2:].decode(errors="replace").split() if not word.startswith("-")
    ]
    program = _short(next((word for word in words if word != "env"), ""))
    return [program, f"${{app}}/{path}", *command[1:]] if program in INTERPRETERS else list(command)


def _follow_links(source: Path, folder: Path) -> tuple[str, ...]:
    """Put files of *source* in the place of links to them in its copy *folder*; tell which other links go.

    A package has no links. What lies outside of the folder is nothing that its author put into it, and a
    folder in two places may be two different things to a server.
    """
    inside = source.resolve()
    lost: list[str] = []
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if not path.is_symlink():
                continue
            relative = path.relative_to(folder)
            target = (source / relative).resolve()
            path.unlink()
            if target.is_relative_to(inside) and target.is_file():
                shutil.copyfile(target, path)
                shutil.copymode(target, path)
            elif ".bin" not in relative.parts:  # starters that npm made, which no server loads
                lost.append(str(relative))
    if not lost:
        return ()
    more = f" and {len(lost) - _LINKS} more" if len(lost) > _LINKS else ""
    named = ", ".join(sorted(lost)[:_LINKS])
    return (f"links were left out, since they lead to folders or out of {source}: {named}{more}",)


def _requirement(program: str, runtimes: Mapping[str, Any], bound: set[int] | None) -> tuple[str, ...]:
    """Return what *program* needs of the host: what is compiled says more than *runtimes* do."""
    short = _short(program)
    if short not in INTERPRETERS:
        return ()
    if short == "python" and bound is not None and len(bound) == 1:
        return (f"python==3.{min(bound)}.*",)
    least = re.match(r">=\s*v?(\d+(?:\.\d+){0,2})", str(runtimes.get(short, "")))
    return (f"{short}>={least[1]}" if least else _NEEDS.get(short, short),)


def _bound(folder: Path) -> set[int] | None:
    """Return for which minor versions of CPython 3 *folder* has compiled modules; None: nothing compiled."""
    found = [path for path in folder.rglob("*") if _COMPILED.search(path.name) and path.is_file()]
    minors = (_FOR_PYTHON.search(path.name) for path in found)
    return {int(match[1]) for match in minors if match is not None} if found else None


def _elsewhere(platforms: Any) -> list[str]:
    if not isinstance(platforms, list) or "linux" in platforms:
        return []
    return [f"it says that it is for {', '.join(map(str, platforms))}, not for linux"]


def _short(program: str) -> str:
    return "python" if re.fullmatch(r"python3?(\.\d+)?", program) else program


def _unpack(opened: Any, folder: Path) -> None:
    try:
        with zipfile.ZipFile(opened) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if len(members) > LIMITS.members or total > LIMITS.archive:
                raise _refused("is larger than any package may be", "")
            for member in members:
                _write(archive, member, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise _refused(f"cannot be unpacked: {error}", "is it an .mcpb file?") from None


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    if member.is_dir():
        return
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise _refused(f"holds {member.filename!r}, which is not a regular file", "")
    try:
        check_path(member.filename)
    except MppError as error:
        raise _refused(f"holds a file of a bad name: {error.message}", "") from None
    path = folder / member.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(member) as source, path.open("xb") as target:
        while piece := source.read(_CHUNK):
            written += len(piece)
            if written > min(member.file_size, LIMITS.member):
                raise _refused(f"holds {member.filename!r}, which is larger than it says", "")
            target.write(piece)
    path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def _program_of(folder: Path, words: Sequence[str]) -> Path:
    """Return the file of a bundle in *folder* that *words* start: no path of the host's is touched."""
    name = words[0]
    path = folder / name
    try:
        check_path(name)
    except MppError as error:
        raise _refused(f"starts a program of a bad name: {error.message}", "") from None
    if not path.is_file():
        raise _refused(
            f"starts {name}, which is neither a file of it nor an interpreter",
            hint_for(words, f"interpreters: {', '.join(INTERPRETERS)}"),
        )
    return path


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        value = encoding.json_loads((folder / _MANIFEST).read_bytes(), max_size=_MAX_MANIFEST)
    except (OSError, encoding.JsonError) as error:
        raise _refused(f"has no {_MANIFEST} that can be read: {error}", "") from None
    if not isinstance(value, dict):
        raise _refused(f"has a {_MANIFEST} that is not an object", "")
    return value


def _found(word: str, folder: Path) -> str:
    """Return *word*, with its place in front of it if that is the path of a part of the bundle in *folder*.

    The specification's own examples leave ``${__dirname}`` out, as if the server were started there.
    """
    path = os.path.normpath(word)
    try:
        check_path(path)
    except MppError:
        return word
    looks = "/" in path or _SCRIPT.fullmatch(path)
    return f"${{__dirname}}/{path}" if looks and (folder / path).exists() else word


_PLACES: Final = {"__dirname": "${app}", "/": "/", "pathSeparator": "/"}


def _placed(text: str) -> str:
    """Return *text* with a bundle's placeholders in this project's spelling."""

    def place(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("user_config."):
            return f"${{user_config.{_key(name.removeprefix('user_config.'))}}}"
        if name not in _PLACES:
            raise _refused(f"uses ${{{name}}}, a place of the user's own", "make it a setting of the bundle")
        return _PLACES[name]

    return re.sub(r"\$\{([^}]*)\}", place, text)


def _settings(
    fields: dict[str, Any], words: Sequence[str], env: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the settings of a bundle whose server is started with *words* and *env*, and notes on them."""
    settings: dict[str, dict[str, Any]] = {}
    notes = []
    for name, value in fields.items():
        form = value if isinstance(value, dict) else {}
        kind = form.get("type") if form.get("type") in _TYPES else "string"
        setting: dict[str, Any] = {"type": kind}
        setting |= {key: form[key] for key in ("title", "description") if isinstance(form.get(key), str)}
        setting |= {key: True for key in ("required", "sensitive") if form.get(key) is True}
        if kind == "number":
            setting |= {key: form[key] for key in ("min", "max") if type(form.get(key)) in (int, float)}
        if form.get("multiple") is True:
            use = f"${{user_config.{_key(name)}}}"
            inside = any(use in text for text in (words[0], *(w for w in words if w != use), *env.values()))
            if inside or kind == "boolean" or "sensitive" in setting:
                notes.append(
                    f"setting {name}: it takes one value, since several cannot stand inside of a text"
                )
            else:
                setting["multiple"] = True
        default = form.get("default")
        if default is not None and "sensitive" not in setting:
            several = "multiple" in setting
            values = default if isinstance(default, list) else [default]
            if (
                (several or not isinstance(default, list))
                and values
                and all(isinstance(each, str | int | float) and "${" not in str(each) for each in values)
                and kind not in ("file", "directory")
            ):
                setting["default"] = values if several else default
            else:
                notes.append(f"setting {name}: its default cannot be carried over")
        settings[_key(name)] = setting
    return settings, notes


def _refuse_secrets(words: Sequence[str], settings: Mapping[str, Mapping[str, Any]]) -> None:
    for key, setting in settings.items():
        if setting.get("sensitive") and any(f"${{user_config.{key}}}" in word for word in words):
            raise _refused(
                f"puts the secret {key} on the command line of its server, which every user can read",
                "most servers take one from a variable, too: move it from args to env in its manifest.json, "
                "and pack it again",
            )


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _table(value: dict[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    return dict(inner) if isinstance(inner, dict) else {}


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text:
        raise _refused(f"has no {name} in its {_MANIFEST}", "")
    return text


def _texts(value: dict[str, Any], name: str) -> Iterator[str]:
    words = value.get(name, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _refused(f"has {name} that are not a list of words", "")
    yield from words


def _refused(what: str, hint: str) -> UsageError:
    return UsageError("wrap.bundle", f"the bundle {what}", hint)
