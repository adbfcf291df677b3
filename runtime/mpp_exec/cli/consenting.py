"""``install``, ``approve``, ``revoke``, ``uninstall``: agreeing, and taking it back.

Whether to trust a publisher and whether to allow what a package asks for are two questions, asked at
the terminal or answered by two options. Whatever is not answered with yes changes nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import open_named, open_session, read_input
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.cli.terminal import Terminal
from mpp_exec.errors import ConsentError, UsageError
from mpp_exec.permissions import DEGRADATIONS

if TYPE_CHECKING:
    from mpp_exec.consent.config import Setting
    from mpp_exec.consent.grant import Grant
    from mpp_exec.lifecycle.installing import Arrival
    from mpp_exec.lifecycle.proposing import Proposal, Wishes
    from mpp_exec.lifecycle.session import Session
    from mpp_exec.package.archive import UnverifiedPackage
    from mpp_exec.package.manifest import ConfigField
    from mpp_exec.trust.verify import SignedManifest, UnknownPublisherError, VerifiedPackage


def _grant_options(parser: VerbParser) -> None:
    parser.option(
        "--set",
        value="K=V",
        action="append",
        default=[],
        help_text="set a value the package asks for; a secret as K=@FILE, K=- (stdin), or when asked",
    )
    parser.option(
        "--without",
        value="PERMISSION",
        action="append",
        default=[],
        help_text="withhold a permission: network, filesystem.write, environment=TZ, import_once, …",
    )
    parser.option(
        "--degrade",
        value="WHAT",
        action="append",
        default=[],
        help_text="accept running without a protection that this host lacks; mpp-exec doctor names them",
        suggested=DEGRADATIONS,
    )
    parser.option(
        "--privacy",
        value="KIND=ACTION",
        action="append",
        default=[],
        help_text="how a kind appears in results: token, partial, hash, mask, drop or allow",
    )


def _install_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Shows who made the package and everything it may do, and asks. To answer in advance, or without a",
        "terminal, use --trust and --approve. An update with the same or fewer permissions keeps its",
        "approval; with any other change, the installed version stays until you agree.",
        "A REF is a package in a registry: oci://host[:port]/repository:tag, or …@sha256:…",
    )
    parser.examples = (
        "mpp-exec install acme-csv-1.4.0.mpp",
        "mpp-exec install oci://registry.example/acme/csv:1.4.0",
        "mpp-exec install acme-csv-1.4.0.mpp --trust=sha256:… --approve --set data_dir=/srv/csv",
    )
    parser.positional("FILE|REF", "a package file, or a reference in a registry", complete="file")
    parser.option(
        "--trust",
        value="KEYID",
        bare=True,
        help_text="trust a publisher seen for the first time; with KEYID, only if the key matches",
    )
    parser.flag("--approve", help_text="agree to what is shown")
    parser.flag("--no-approve", help_text="install now and approve later; nothing of it runs until then")
    parser.flag("--downgrade", help_text="accept a version below the highest one seen")
    _grant_options(parser)
    parser.common()


def _install(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import installing  # noqa: PLC0415 -- not for --help

    if given.approve and given.no_approve:
        raise UsageError("usage.arguments", "--approve and --no-approve exclude each other", "choose one")
    wishes = _wishes(given)
    if given.no_approve and wishes:
        raise UsageError(
            "usage.arguments",
            "--no-approve leaves nothing to --set, --without, --degrade or --privacy",
            "give them to mpp-exec approve",
        )
    with (
        open_session(given) as session,
        open_named(given.file, console, session) as (package, source),
        Terminal.opened() as terminal,
    ):
        given.file = source or given.file  # what is shown from here on, and what is to be typed again
        asking = _Asking(given, console, session, terminal)
        verified = asking.trusted(package)
        arrival = installing.Arrival.of(session, verified)
        proposal = None
        if not given.no_approve and (wishes or not arrival.keeps_grant(session)):
            proposal = asking.agreed(arrival, wishes)
        with console.progress("installing") as progress:
            installed = installing.install(session, arrival, proposal, source=source, progress=progress)
        standing = session.standing(installed)
    if given.json:
        console.json(
            {
                "name": installed.name,
                "version": installed.version,
                "digest": installed.digest,
                "key_id": installed.key_id,
                "replaces": arrival.there.installed.version if arrival.there is not None else None,
                "state": standing.state,
                "kept_approval": proposal is None and standing.state == "approved",
            }
        )
        return 0
    console.result([f"installed {installed.name} {installed.version}"])
    if standing.state != "approved":
        console.note(f"nothing of it runs until you approve it: mpp-exec approve {installed.name}")
    elif proposal is None:
        console.note("it keeps its approval: nothing that was shown has become wider")
    return 0


def _wishes(given: argparse.Namespace) -> Wishes:
    from mpp_exec.lifecycle.proposing import Wishes  # noqa: PLC0415 -- not for --help

    return Wishes(tuple(given.set), tuple(given.without), tuple(given.degrade), tuple(given.privacy))


class _Asking:
    """The questions of one command. *terminal* is None where there is nobody to ask."""

    def __init__(
        self, given: argparse.Namespace, console: Console, session: Session, terminal: Terminal | None
    ) -> None:
        self._given = given
        self._console = console
        self._session = session
        self._terminal = terminal

    def trusted(self, package: UnverifiedPackage) -> VerifiedPackage:
        """Verify, and settle whether the publisher is trusted."""
        from mpp_exec.lifecycle.installing import verify_file  # noqa: PLC0415 -- not for --help
        from mpp_exec.trust.keys import key_id  # noqa: PLC0415
        from mpp_exec.trust.publishers import parse_key_id  # noqa: PLC0415
        from mpp_exec.trust.verify import UnknownPublisherError  # noqa: PLC0415

        word = self._given.trust
        trust: str | bool = False if word is None else parse_key_id(word) if word else True

        def verify(trust: str | bool) -> VerifiedPackage:
            downgrade = self._given.downgrade
            with self._console.progress("verifying") as progress:
                return verify_file(
                    self._session, package, trust=trust, downgrade=downgrade, progress=progress
                )

        try:
            return verify(trust)
        except UnknownPublisherError as error:
            key = key_id(error.public_key)
            self._ask_for_trust(error, key)
            return verify(key)

    def _ask_for_trust(self, error: UnknownPublisherError, key: str) -> None:
        given, terminal = self._given, self._terminal
        if terminal is None:
            command = shlex.join(["mpp-exec", "install", given.file, f"--trust={key}"])
            approve = "" if given.approve or given.no_approve else " --approve"
            raise ConsentError(
                error.code,
                error.message,
                f"compare the key id with the publisher's; if it is theirs: {command}{approve}",
            ) from None
        terminal.show(
            [
                f"publisher {error.publisher} is not known here",
                f"  key id {key}",
                "  whoever has this key can sign packages in that name; ask the publisher for their key id",
            ]
        )
        if not terminal.confirm(f"Trust this key for {error.publisher}?"):
            raise ConsentError(
                "trust.refused", f"publisher {error.publisher} was not trusted", "nothing was changed"
            )

    def agreed(self, arrival: Arrival, wishes: Wishes) -> Proposal | None:
        """Show what a package file asks for, and return what was agreed to; None to approve it later."""
        given, terminal = self._given, self._terminal
        try:
            proposal = self.proposed(arrival.package, wishes, arrival.old)
        except UsageError as error:
            if error.code == "config.missing" and not given.approve and terminal is None:
                raise self._unanswered(arrival, missing=error) from None
            raise
        lines = proposal.text()
        if given.approve:
            self._console.note(*lines)
            return proposal
        if terminal is None:
            self._console.note(*lines)
            raise self._unanswered(arrival)
        terminal.show(lines)
        if proposal.old is None:
            answer = terminal.choose("Approve? [y]es, [N]o, [l]ater (install it, approve it later)", "yln")
        else:
            answer = "y" if terminal.confirm("Approve this update?") else "n"
        if answer == "n":
            old = proposal.old
            stays = f": {old.package} {old.version} stays as it is" if old is not None else ""
            raise ConsentError("consent.refused", f"it was not approved{stays}", "nothing was changed")
        return proposal if answer == "y" else None

    def _unanswered(self, arrival: Arrival, missing: UsageError | None = None) -> ConsentError:
        given, manifest = self._given, arrival.package.manifest
        words = ["mpp-exec", "install", given.file]
        words += [f"--trust={arrival.package.key_id}"] if arrival.package.first_use else []
        words += ["--downgrade"] if given.downgrade else []
        words += ["--approve", *_repeated(given)]
        command = shlex.join(words)
        if missing is not None:
            command += f" {missing.hint.partition(': ')[2]}"
        there = arrival.there
        stays = f"; {there.installed.version} stays" if there is not None else ""
        return ConsentError(
            "consent.approval_needed",
            f"{manifest.name} {manifest.version} was not approved, and there is no terminal to ask at{stays}",
            f"mpp-exec inspect {shlex.quote(given.file)} shows what it asks for; to agree: {command}",
        )

    def proposed(self, package: SignedManifest, wishes: Wishes, old: Grant | None) -> Proposal:
        """Return the grant that would follow, reading secrets and asking for what is missing."""
        from mpp_exec.lifecycle.proposing import propose  # noqa: PLC0415 -- not for --help

        ask = None if self._terminal is None or self._given.approve else self._ask_for_setting
        return propose(self._session, package, wishes, old, read_secret=read_secret, ask=ask)

    def _ask_for_setting(self, each: ConfigField) -> str:
        terminal = self._terminal
        if terminal is None:
            return ""
        several = "one of any number, nothing to end" if each.multiple else ""
        words = [each.title, each.bounds, several]
        about = "; ".join(filter(None, words))
        prompt = f"{each.key} ({about}):" if about else f"{each.key}:"
        return terminal.secret(prompt) if each.sensitive else terminal.line(prompt)

    def approved(self, proposal: Proposal) -> None:
        """Show what an installed package asks for, and make sure that somebody agrees."""
        given, terminal, lines = self._given, self._terminal, proposal.text()
        if given.approve or terminal is None:
            self._console.note(*lines)
        if given.approve:
            return
        if terminal is None:
            command = shlex.join(["mpp-exec", "approve", given.name, "--yes", *_repeated(given)])
            raise ConsentError(
                "consent.approval_needed",
                f"{given.name} was not approved, and there is no terminal to ask at",
                f"to agree to what is shown: {command}",
            )
        terminal.show(lines)
        if not terminal.confirm("Approve?"):
            raise ConsentError("consent.refused", "it was not approved", "nothing was changed")


def read_secret(setting: Setting) -> bytes:
    """Read what ``--set K=@FILE`` or ``K=-`` names."""
    from mpp_exec.consent.config import MAX_VALUE  # noqa: PLC0415 -- not for --help

    # A file may be called "-"; standard input is asked for without the "@".
    name = "-" if setting.source == "stdin" else os.path.join(".", setting.text)  # noqa: PTH118 -- as typed
    return read_input(name, MAX_VALUE, f"the value of {setting.key}")


def _repeated(given: argparse.Namespace) -> list[str]:
    """Return the options that were given, to be typed again."""
    pairs = (
        ("--set", given.set),
        ("--without", given.without),
        ("--degrade", given.degrade),
        ("--privacy", given.privacy),
    )
    return [word for option, values in pairs for value in values for word in (option, value)]


def _approve_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Grants everything that is shown, except what is withheld. Settings, secrets and --privacy of an",
        "earlier approval are kept. A kind can be allowed (--privacy email=allow) only where the package",
        "asks to return it.",
    )
    parser.examples = (
        "mpp-exec approve acme/csv --set data_dir=/srv/csv",
        "mpp-exec approve acme/csv --without network --yes",
        "mpp-exec approve acme/contacts --privacy email=token",
    )
    parser.positional("NAME", "an installed package", complete="package")
    parser.flag("-y", "--yes", help_text="agree to what is shown without being asked")
    _grant_options(parser)
    parser.common()


def _approve(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import installing  # noqa: PLC0415 -- not for --help

    given.approve = given.yes
    with open_session(given) as session, Terminal.opened() as terminal:
        asking = _Asking(given, console, session, terminal)
        installed, package = session.verified(given.name)
        proposal = asking.proposed(package, _wishes(given), session.standing(installed).grant)
        asking.approved(proposal)
        installing.approve(session, proposal)
    if given.json:
        console.json(
            {
                "name": installed.name,
                "version": installed.version,
                "digest": installed.digest,
                "state": "approved",
                **{name: proposal.detail()[name] for name in ("granted", "privacy", "redaction")},
                "withheld": [
                    {"permission": each.permission, "reason": each.reason} for each in proposal.grant.withheld
                ],
            }
        )
        return 0
    console.result([f"approved {installed.name} {installed.version}"])
    return 0


def _revoke_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Takes effect at once, in every process; running calls end. The package's secrets are erased.",
    )
    parser.examples = ("mpp-exec revoke acme/csv",)
    parser.positional("NAME", "an installed package", complete="package")
    parser.common()


def _revoke(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import installing  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        withdrawn = installing.revoke(session, given.name)
    if given.json:
        console.json({"name": given.name, "revoked": withdrawn})
        return 0
    console.result([f"revoked {given.name}" if withdrawn else f"{given.name} was not approved"])
    return 0


def _uninstall_arguments(parser: VerbParser) -> None:
    parser.notes = ("The highest version seen is remembered: an older one is still refused afterwards.",)
    parser.examples = ("mpp-exec uninstall acme/csv",)
    parser.positional("NAME", "an installed package", complete="package")
    parser.common()


def _uninstall(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import installing  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        installed = installing.uninstall(session, given.name)
    if given.json:
        console.json({"name": installed.name, "version": installed.version, "digest": installed.digest})
        return 0
    console.result([f"uninstalled {installed.name} {installed.version}"])
    return 0


VERBS: Final = {
    "install": Verb(_install_arguments, _install),
    "approve": Verb(_approve_arguments, _approve),
    "revoke": Verb(_revoke_arguments, _revoke),
    "uninstall": Verb(_uninstall_arguments, _uninstall),
}
