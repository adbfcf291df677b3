"""``redact``: what leaves a sandbox, for any text or JSON."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import read_input
from mpp_exec.cli.parser import Verb, VerbParser

if TYPE_CHECKING:
    from mpp_exec.privacy.policy import RedactionPolicy

_MAX: Final = 64 << 20


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Input that is a JSON object or list is redacted as JSON, key by key; all other input as text.",
        "What your organisation's policy says about kinds holds here too; everything else is masked.",
    )
    parser.examples = ("mpp-exec redact < notes.txt", "curl -s https://… | mpp-exec redact --json")
    parser.flag("--text", help_text="treat the input as text even if it is JSON")
    parser.common()


def _redact(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.privacy.redact import redact  # noqa: PLC0415 -- not for --help

    data = read_input("-", _MAX, "the text")
    text = data.decode("utf-8", "replace")
    value = text if given.text else _parsed(data, text)
    clean = redact(value, _policy(given))
    if given.json:
        console.json(clean.to_json())
        return 0
    if isinstance(clean.value, str):
        console.data(clean.value)
    else:
        console.json(clean.value)
    for kind, count in clean.counts().items():
        console.note(f"redacted: {kind} {count}")
    return 0


def _parsed(data: bytes, text: str) -> Any:
    """Return the JSON object or list that the input is, else its *text*."""
    from mpp_exec import encoding  # noqa: PLC0415 -- not for --help

    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return encoding.json_loads(data, max_size=_MAX)
    except encoding.JsonError:
        return text


def _policy(given: argparse.Namespace) -> RedactionPolicy:
    """Return what the policy that holds here says; the home is opened only if a hash needs its key."""
    from mpp_exec.consent.policy_file import PolicyFiles  # noqa: PLC0415 -- not for --help
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415
    from mpp_exec.privacy.policy import RedactionPolicy, effective_actions  # noqa: PLC0415
    from mpp_exec.registry.home import Home, resolve_home  # noqa: PLC0415
    from mpp_exec.trust.keyfiles import KeyFolder  # noqa: PLC0415

    folder = resolve_path(given.home) or resolve_home()
    actions = effective_actions(organisation=PolicyFiles(folder).load().redaction)
    key = None
    if "hash" in actions.values():
        key = KeyFolder(Home.open(folder).keys).home_key().derive("redaction-hash")
    return RedactionPolicy(actions, hash_key=key)


VERBS: Final = {"redact": Verb(_arguments, _redact)}
