"""``push``, ``pull``: packages to and from a registry."""

from __future__ import annotations

import argparse
import os
from typing import Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import open_session
from mpp_exec.cli.parser import Verb, VerbParser

_LOGIN = (
    "It logs in with what docker, podman or oras login have stored. Plain HTTP is spoken with",
    "this machine only.",
)


def _push_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Verifies the package, stores it in an OCI registry and gives it the tag. The digest that is printed",
        "names it for good. A tag that already names another package is not moved without --replace.",
        *_LOGIN,
    )
    parser.examples = ("mpp-exec push acme-csv-1.4.0.mpp oci://registry.example/acme/csv:1.4.0",)
    parser.positional("FILE", "the package", complete="file")
    parser.positional("REF", "oci://host[:port]/repository:tag")
    parser.flag("--replace", help_text="move the tag if it names another package")
    parser.common()


def _push(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.distribution.reference import parse  # noqa: PLC0415 -- not for --help
    from mpp_exec.lifecycle import distributing  # noqa: PLC0415

    reference = parse(given.ref)
    with open_session(given) as session, console.progress("pushing") as progress:
        package, pushed = distributing.push(
            session, given.file, reference, environ=os.environ, move=given.replace, progress=progress
        )
    manifest = package.manifest
    if given.json:
        console.json(
            {
                "name": manifest.name,
                "version": manifest.version,
                "digest": package.digest,
                "key_id": package.key_id,
                "reference": str(pushed.reference),
                "again": pushed.again,
            }
        )
        return 0
    if pushed.again:
        console.note(f"{reference} is this package already")
    console.result([f"pushed {manifest.name} {manifest.version}", f"as     {pushed.reference}"])
    return 0


def _pull_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Verifies the package, whoever its publisher is, and writes it to a file; nothing is installed.",
        "mpp-exec install takes a REF as well.",
        *_LOGIN,
    )
    parser.examples = (
        "mpp-exec pull oci://registry.example/acme/csv:1.4.0",
        "mpp-exec pull oci://registry.example/acme/csv@sha256:… -o csv.mpp",
    )
    parser.positional("REF", "oci://host[:port]/repository:tag, or …@sha256:…")
    parser.option(
        "-o", "--output", value="FILE", complete="file", help_text="where to (here, as NAME-VERSION.mpp)"
    )
    parser.common()


def _pull(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.distribution.reference import parse  # noqa: PLC0415 -- not for --help
    from mpp_exec.lifecycle import distributing  # noqa: PLC0415

    reference = parse(given.ref)
    with open_session(given) as session, console.progress("pulling") as progress:
        pulled = distributing.pull(session, reference, given.output, environ=os.environ, progress=progress)
    package = pulled.package
    if given.json:
        console.json(
            {
                "file": str(pulled.path),
                "name": package.manifest.name,
                "version": package.manifest.version,
                "digest": package.digest,
                "key_id": package.key_id,
                "publisher_known": not package.first_use,
                "reference": str(pulled.reference),
            }
        )
        return 0
    console.note(f"it is {pulled.reference}")
    if package.first_use:
        console.note(f"publisher {package.manifest.publisher} is not known here, key {package.key_id}")
    console.result([str(pulled.path)])
    return 0


VERBS: Final = {
    "push": Verb(_push_arguments, _push),
    "pull": Verb(_pull_arguments, _pull),
}
