"""``verify``, ``inspect``, ``list``: looking at packages, files and installed ones."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import open_named, open_session
from mpp_exec.cli.parser import Verb, VerbParser, table
from mpp_exec.errors import UsageError
from mpp_exec.package import canonical
from mpp_exec.patterns import lazily
from mpp_exec.permissions import IMPORTED_ONCE

if TYPE_CHECKING:
    from mpp_exec.lifecycle.session import Session, Standing
    from mpp_exec.package.manifest import Manifest, Tool
    from mpp_exec.trust.verify import SignedManifest

_NAME: Final = lazily(r"[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


def _verify_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Checks signature, publisher, manifest, version, platform, expiry and every byte of the contents, as",
        "install does; nothing is stored. Exit code 3: a check failed; 4: the publisher is not trusted here.",
    )
    parser.examples = ("mpp-exec verify acme-csv-1.4.0.mpp",)
    parser.positional("FILE|REF", "a package file, or a reference in a registry", complete="file")
    parser.common()


def _verify(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle.installing import verify_fully  # noqa: PLC0415 -- not for --help

    with (
        open_session(given) as session,
        open_named(given.file, console, session) as (package, _),
        console.progress("verifying") as progress,
    ):
        verified, unknown = verify_fully(session, package, progress)
    if unknown is not None:
        raise unknown
    manifest = verified.manifest
    if given.json:
        console.json(
            {
                "name": manifest.name,
                "version": manifest.version,
                "digest": verified.digest,
                "publisher": manifest.publisher,
                "key_id": verified.key_id,
                "verified": True,
            }
        )
        return 0
    console.result(
        [
            f"verified   {manifest.name} {manifest.version}",
            f"publisher  {manifest.publisher}, key {verified.key_id}",
            f"digest     {verified.digest}",
        ]
    )
    return 0


def _inspect_arguments(parser: VerbParser) -> None:
    parser.notes = ("A file is verified first; one by an unknown publisher is shown and marked so.",)
    parser.examples = ("mpp-exec inspect acme-csv-1.4.0.mpp", "mpp-exec inspect acme/csv --json")
    parser.positional(
        "FILE|NAME|REF",
        "a package file, an installed package's name, or a reference in a registry",
        complete="package",
    )
    parser.common()


def _inspect(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle.installing import verify_fully  # noqa: PLC0415 -- not for --help

    word: str = given.file
    standing: Standing | None = None
    package: SignedManifest
    with open_session(given) as session:
        if _is_installed(session, word):
            installed, package = session.verified(word)
            standing, known = session.standing(installed), True
        else:
            with open_named(word, console, session) as (file, _), console.progress("verifying") as progress:
                package, unknown = verify_fully(session, file, progress)
                known = unknown is None
    document = _document(package, standing, known=known)
    if given.json:
        console.json(document)
    else:
        console.result(_lines(package, standing, document))
    return 0


def _is_installed(session: Session, word: str) -> bool:
    """Whether *word* is meant as the name of an installed package, not as a path."""
    if _NAME.fullmatch(word) is None:
        return False
    if session.find(word) is not None:
        return True
    if os.path.exists(word):  # noqa: PTH110 -- a word, perhaps no path at all
        return False
    raise UsageError(
        "package.not_found",
        f"{word} is neither an installed package nor a file",
        "mpp-exec list shows what is installed; a package file ends in .mpp",
    )


def _document(package: SignedManifest, standing: Standing | None, *, known: bool) -> dict[str, Any]:
    from mpp_exec.trust.publishers import format_public_key  # noqa: PLC0415 -- not for --help

    manifest = package.manifest
    value = canonical.to_value(manifest)
    files = [
        {
            "path": each.path,
            "size": each.size,
            "sha256": each.sha256.hex(),
            "executable": each.executable,
        }
        for each in manifest.files
    ]
    document = {
        **{key: each for key, each in value.items() if key not in ("publisher_key", "files")},
        "publisher": manifest.publisher,
        "publisher_known": known,
        "publisher_key": format_public_key(manifest.publisher_key),
        "key_id": package.key_id,
        "digest": package.digest,
        "may": _may(manifest),
        "files": files,
    }
    if standing is not None:
        document["installed"] = standing_json(standing)
    return document


def standing_json(standing: Standing) -> dict[str, Any]:
    """Return what there is to say of an installed package and its approval."""
    from mpp_exec.audit.entry import iso, permissions_value  # noqa: PLC0415 -- not for --help

    installed, grant = standing.installed, standing.grant
    active = grant if standing.state == "approved" else None
    return {
        "name": installed.name,
        "version": installed.version,
        "publisher": installed.name.partition("/")[0],
        "key_id": installed.key_id,
        "digest": installed.digest,
        "installed_at": iso(installed.installed_at),
        "state": standing.state,
        "distrusted": standing.distrusted or None,
        "approved_at": iso(active.approved_at) if active is not None else None,
        "permissions": permissions_value(active.permissions) if active is not None else None,
        "withheld": [
            {"permission": each.permission, "reason": each.reason}
            for each in (active.withheld if active is not None else ())
        ],
        "degradations": list(active.degradations) if active is not None else [],
        "import_once": active is not None and active.import_once,
    }


def _may(manifest: Manifest) -> list[str]:
    return [
        *manifest.permissions.describe(),
        *manifest.limits.describe(),
        *manifest.privacy.describe(),
        *([IMPORTED_ONCE] if manifest.runtime.import_once else []),
    ]


def _lines(package: SignedManifest, standing: Standing | None, document: dict[str, Any]) -> list[str]:
    from mpp_exec.vocabulary import format_size  # noqa: PLC0415 -- not for --help

    manifest = package.manifest
    unknown = "" if document["publisher_known"] else ", not known here"
    runtime = manifest.runtime
    facts = [
        ("package", f"{manifest.name} {manifest.version}"),
        ("publisher", f"{manifest.publisher}{unknown}"),
        ("key id", package.key_id),
        ("digest", package.digest),
        ("runs as", " ".join([runtime.kind, *runtime.command])),
        ("from this host", ", ".join(map(str, runtime.requires))),
        ("platforms", ", ".join(runtime.platforms)),
        ("license", manifest.license),
        ("homepage", manifest.homepage),
        ("expires", manifest.expires or ""),
    ]
    lines = [f"{name:<16}{text}" for name, text in facts if text]
    lines += [f"  | {line}" for line in manifest.description.splitlines()]
    for tool in manifest.tools:
        lines += ["", *_tool_lines(tool)]
    lines += ["", "it asks that it may:", *(f"  - {line}" for line in _may(manifest))]
    if manifest.user_config:
        lines += ["", "settings:"]
        for field in manifest.user_config:
            marks = [field.type, *(["required"] * field.required), *(["secret"] * field.sensitive)]
            marks += ["any number of them"] * field.multiple
            marks += filter(None, [field.bounds])
            lines.append(f"  {field.key} ({', '.join(marks)})")
            lines += [f"    | {text}" for text in (field.title, field.description) if text]
    if standing is not None:
        lines += ["", *_standing_lines(standing)]
    count = len(manifest.files)
    lines += ["", f"{count} file{'s' * (count != 1)}:"]
    lines += table([(each.path, format_size(each.size)) for each in manifest.files], width=40)
    return lines


def _tool_lines(tool: Tool) -> list[str]:
    import json  # noqa: PLC0415 -- not for --help

    effects = {"read": "reads only", "write": "may change things", "destructive": "may destroy things"}
    asks = {"never": "", "once": ", confirmed once", "always": ", confirmed at every call"}
    lines = [f"tool {tool.name}: {effects[tool.operation]}{asks[tool.confirm]}"]
    lines += [f"  | {line}" for text in (tool.title, tool.description) for line in text.splitlines()]
    schemas = [("takes", tool.input_schema)]
    if tool.output_schema is not None:
        schemas.append(("returns", tool.output_schema))
    for word, schema in schemas:
        text = json.dumps(schema, ensure_ascii=False, indent=2)
        lines += [f"  {word}:", *(f"    | {line}" for line in text.splitlines())]
    return lines


def _standing_lines(standing: Standing) -> list[str]:
    grant = standing.grant
    if standing.state != "approved" or grant is None:
        return [f"installed, {standing.state}"]
    when = grant.approved_at.strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"installed, approved {when}; it may:",
        *(f"  - {line}" for line in grant.permissions.describe()),
    ]
    if grant.withheld:
        lines += ["asked for and not granted:"]
        lines += [f"  - {each.permission} ({each.reason})" for each in grant.withheld]
    return lines


def _list_arguments(parser: VerbParser) -> None:
    parser.examples = ("mpp-exec list", "mpp-exec list --json", "mpp-exec list -q")
    parser.flag("-q", "--quiet", help_text="names only")
    parser.common()


def _list(given: argparse.Namespace, console: Console) -> int:
    with open_session(given) as session:
        standings = session.standings()
    if given.json:
        console.json([standing_json(each) for each in standings])
        return 0
    if given.quiet:
        console.result(each.installed.name for each in standings)
        return 0
    if not standings:
        console.note("nothing is installed; install a package with: mpp-exec install FILE")
    for each in standings:
        installed, grant = each.installed, each.grant
        but = f", but {each.distrusted}" if each.distrusted else ""
        console.result([f"{installed.name} {installed.version}  {each.state}{but}"])
        lines = [f"digest {installed.digest}", f"key    {installed.key_id}"]
        if grant is not None and each.state == "approved":
            lines += [f"may    {line}" for line in grant.permissions.describe()]
            lines += [f"not    {withheld.permission}" for withheld in grant.withheld]
        console.result(f"  {line}" for line in lines)
    return 0


VERBS: Final = {
    "verify": Verb(_verify_arguments, _verify),
    "inspect": Verb(_inspect_arguments, _inspect),
    "list": Verb(_list_arguments, _list),
}
