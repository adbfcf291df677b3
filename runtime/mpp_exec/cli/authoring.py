"""``init``, ``keygen``, ``build``: making packages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import folder_of, load_key, new_passphrase, open_session
from mpp_exec.cli.parser import Verb, VerbParser


def _init_arguments(parser: VerbParser) -> None:
    parser.examples = ("mpp-exec init word-count", "mpp-exec init word-count --kind exec")
    parser.positional("DIR", "the folder to make; it must not exist, or be empty", complete="folder")
    parser.option(
        "--kind",
        value="KIND",
        help_text="python (a function, the default) or exec (a program)",
        choices=("python", "exec"),
        default="python",
    )
    parser.common()


def _init(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.cli.scaffold import scaffold  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        own = session.keys.publishers()
    publisher = own[0] if len(own) == 1 else "example"
    folder = folder_of(given.dir)
    files = scaffold(folder, given.kind, publisher)
    if given.json:
        console.json({"folder": str(folder), "files": files, "publisher": publisher})
        return 0
    console.result(str(Path(given.dir) / name) for name in files)
    if publisher not in own:
        console.note(f"next: mpp-exec keygen {publisher}    (or write your own publisher into mpp.toml)")
    console.note(f"next: mpp-exec build {given.dir}")
    return 0


def _keygen_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "The private part stays in the home, readable by you alone. Others need the public key, or the",
        "key id to compare: they run mpp-exec publisher add. Keep a copy of the file: a lost key is lost.",
    )
    parser.examples = ("mpp-exec keygen acme", "mpp-exec keygen acme --passphrase")
    parser.positional("PUBLISHER", "your name as a publisher: a-z, 0-9 and '-'")
    parser.flag("--passphrase", help_text="encrypt the private key; asks at the terminal, twice")
    parser.common()


def _keygen(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import publishers  # noqa: PLC0415 -- not for --help
    from mpp_exec.trust.publishers import format_public_key  # noqa: PLC0415

    with open_session(given) as session:
        publishers.check_name(given.publisher)
        passphrase = new_passphrase() if given.passphrase else None
        made = publishers.keygen(session, given.publisher, passphrase)
        path = session.keys.path / f"{given.publisher}.key"
    key = format_public_key(made.key)
    if given.json:
        console.json(
            {
                "publisher": made.name,
                "public_key": key,
                "key_id": made.key_id,
                "private_key": str(path),
                "encrypted": passphrase is not None,
            }
        )
        return 0
    console.result([f"publisher   {made.name}", f"public key  {key}", f"key id      {made.key_id}"])
    console.note(f"the private key is in {path}")
    return 0


def _build_arguments(parser: VerbParser) -> None:
    parser.examples = ("mpp-exec build word-count", "mpp-exec build word-count -o dist/")
    parser.positional("DIR", "the folder with mpp.toml", complete="folder")
    parser.option(
        "--key",
        value="PUBLISHER",
        help_text="whose key to sign with; the publisher in mpp.toml if left out",
        complete="publisher",
    )
    parser.option(
        "-o",
        "--output",
        value="FILE",
        help_text="the file to write, or a folder for NAME-VERSION.mpp; the working folder if left out",
        complete="file",
    )
    parser.common()


def _build(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle.rotating import require_current  # noqa: PLC0415 -- not for --help
    from mpp_exec.package.build import build, read_draft  # noqa: PLC0415
    from mpp_exec.trust.cose import ManifestSigner  # noqa: PLC0415
    from mpp_exec.vocabulary import format_size  # noqa: PLC0415

    draft = read_draft(given.dir)
    publisher = given.key or draft.publisher
    with open_session(given) as session:
        key = load_key(session.keys, publisher)
        require_current(session, publisher, key)
    signer = ManifestSigner(publisher, key)
    with console.progress("packing") as progress:
        built = build(given.dir, signer, given.output, progress)
    manifest = built.manifest
    if given.json:
        console.json(
            {
                "file": str(built.path),
                "name": manifest.name,
                "version": manifest.version,
                "digest": built.digest,
                "key_id": key.key_id,
                "size": built.size,
                "files": len(manifest.files),
            }
        )
        return 0
    console.result([str(built.path)])
    count = len(manifest.files)
    console.note(
        f"{manifest.name} {manifest.version}: {count} file{'s' * (count != 1)}, {format_size(built.size)}",
        f"digest {built.digest}",
        f"signed with {key.key_id}",
    )
    return 0


VERBS: Final = {
    "init": Verb(_init_arguments, _init),
    "keygen": Verb(_keygen_arguments, _keygen),
    "build": Verb(_build_arguments, _build),
}
