"""``redact``: what leaves a sandbox, for any text or JSON; and the tests of an organisation's own rules."""

from __future__ import annotations

import argparse
import codecs
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.json_begun import may_be_json
from mpp_exec.cli.opening import read_chunks, read_input
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.errors import UsageError

if TYPE_CHECKING:
    from mpp_exec.consent.redaction_rules import RedactionRule
    from mpp_exec.privacy.finding import Finding
    from mpp_exec.privacy.policy import RedactionPolicy

_MAX: Final = 64 << 20
"""Bytes of JSON, and of text whose findings are asked for. Other text may be of any length."""
_MAX_RULES: Final = 1 << 20
_HEAD: Final = 1 << 12
"""Bytes in which JSON begins, if it does."""
_SURE: Final = 1 << 16
"""Bytes after which what may still be JSON is taken for it."""
_BROKEN: Final = 2


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Input that is a JSON object or list is redacted as JSON, key by key; all other input as text.",
        "Your organisation's policy decides what is done with each kind; what it does not mention is masked.",
    )
    parser.examples = (
        "mpp-exec redact < notes.txt",
        "curl -s https://… | mpp-exec redact --json",
        "mpp-exec redact --check-rules policy.toml",
    )
    parser.flag("--text", help_text="treat the input as text even if it is JSON")
    parser.flag("--explain", help_text="name the rule, check and context behind each finding")
    parser.flag("--second-opinion", help_text="also ask Presidio's language model about prose (an extra)")
    parser.option(
        "--check-rules",
        value="FILE",
        help_text="run the tests of a policy's [[redaction_rule]] tables instead",
        complete="file",
    )
    parser.common()


def _redact(given: argparse.Namespace, console: Console) -> int:
    if given.check_rules is not None:
        return _check_rules(given, console)
    chunks = read_chunks("the text")
    head, is_json = (b"", False) if given.text else _begun(chunks)
    if not (is_json or given.json or given.explain):
        return _stream(given, console, head, chunks)
    data = _collected(head, chunks)
    text = data.decode("utf-8", "replace")
    return _whole(given, console, _parsed(data, text) if is_json else text)


def _begun(chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return what comes first, and whether it may be the beginning of a JSON object or list.

    Of a log no more is held than tells that it is one: a line. What decides is what comes, not in which
    pieces: blanks for as long as ``_HEAD`` begin a text, and nothing behind ``_SURE`` counts.
    """
    head, looked = b"", 0
    for chunk in chunks:
        head += chunk
        begins = head[:_HEAD].lstrip()[:1]
        if not begins and len(head) < _HEAD:
            continue
        if begins not in (b"{", b"["):
            return head, False
        if len(head) - looked > looked // 4:  # not at each of many small pieces
            if not may_be_json(head[:_SURE]):
                return head, False
            looked = len(head)
        if len(head) >= _SURE:
            break
    return head, head[:_HEAD].lstrip()[:1] in (b"{", b"[") and may_be_json(head[:_SURE])


def _whole(given: argparse.Namespace, console: Console, value: Any) -> int:
    """Redact one value, all of it at once."""
    from mpp_exec.privacy.redact import Redactor  # noqa: PLC0415 -- not for --help

    clean = Redactor(_policy(given), explain=given.explain).redact(value)
    if given.json:
        console.json(clean.to_json())
        return 0
    if isinstance(clean.value, str):
        console.data(clean.value)
    else:
        console.json(clean.value)
    if given.explain:
        for finding in clean.findings:
            _explain(console, finding)
    _count(console, clean.counts())
    return 0


def _stream(given: argparse.Namespace, console: Console, head: bytes, chunks: Iterator[bytes]) -> int:
    """Redact text as it arrives."""
    from mpp_exec.privacy.redact import Redactor  # noqa: PLC0415 -- not for --help
    from mpp_exec.privacy.stream import StreamRedactor  # noqa: PLC0415

    policy = _policy(given)
    stream = StreamRedactor(lambda: Redactor(policy))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    if written := stream.feed(decoder.decode(head)):
        console.data(written)
    for chunk in chunks:
        if written := stream.feed(decoder.decode(chunk)):
            console.data(written)
    console.data(stream.feed(decoder.decode(b"", final=True)) + stream.finish())
    _count(console, dict(sorted(stream.counts.items())))
    return 0


def _count(console: Console, counts: dict[str, int] | Counter[str]) -> None:
    for kind, count in counts.items():
        console.note(f"redacted: {kind} {count}")


def _explain(console: Console, finding: Finding) -> None:
    where = f"{finding.start} to {finding.end}"
    where = where if finding.pointer is None else f"{finding.pointer or 'the value'}, {where}"
    reason = finding.reason
    console.note(f"{finding.kind} at {where}: rule {reason.rule}, score {finding.score}")
    console.note(f"  check: {reason.check}", f"  context: {reason.context}")
    console.note(f"  switched off by: {reason.switch_off or 'nothing'}")


def _collected(head: bytes, chunks: Iterator[bytes]) -> bytes:
    pieces, length = [head], len(head)
    for chunk in chunks:
        pieces.append(chunk)
        length += len(chunk)
        if length > _MAX:
            raise UsageError(
                "input.too_large",
                f"the text has more than {_MAX} bytes",
                "that is the most that JSON, --json and --explain take; plain text may be longer",
            )
    return b"".join(pieces)


def _parsed(data: bytes, text: str) -> Any:
    """Return the JSON object or list that the input is, else its *text*."""
    from mpp_exec import encoding  # noqa: PLC0415 -- not for --help

    try:
        return encoding.json_loads(data, max_size=_MAX)
    except encoding.JsonError:
        return text


def _check_rules(given: argparse.Namespace, console: Console) -> int:
    """Run the tests inside the rules of a file. 0 if all of them hold."""
    from mpp_exec.privacy.patterns import broken  # noqa: PLC0415 -- not for --help

    rules = _rules(given.check_rules)
    wrong = broken(rules)
    if given.json:
        failed = [{"name": each.name, "message": each.message} for each in wrong]
        console.json({"rules": [rule.name for rule in rules], "failed": failed})
    else:
        bad = {each.name for each in wrong}
        for rule in rules:
            tests = len(rule.match) + len(rule.no_match)
            console.result([f"{rule.name}: {'failed' if rule.name in bad else f'ok, {tests} tests'}"])
        console.result([f"  {each.name} {each.message}" for each in wrong])
    return _BROKEN if wrong else 0


def _rules(name: str) -> tuple[RedactionRule, ...]:
    """Return the rules of a policy file, or of a file of rules alone.

    Raises:
        UsageError: ``input.unreadable``, ``input.too_large``, ``rules.malformed``, ``rules.none``.
    """
    import tomllib  # noqa: PLC0415 -- not for --help

    from mpp_exec.consent.redaction_rules import KEY, parse_rules  # noqa: PLC0415
    from mpp_exec.package.fields import FieldError  # noqa: PLC0415

    data = read_input(name, _MAX_RULES, "the rules")
    try:
        rules = parse_rules(tomllib.loads(data.decode("utf-8")).get(KEY, []))
    except FieldError as error:
        raise UsageError("rules.malformed", f"{name}: {error.key} {error.message}", error.hint) from None
    except (ValueError, RecursionError) as error:
        raise UsageError("rules.malformed", f"{name} is not TOML: {error}", "correct it") from None
    if not rules:
        raise UsageError("rules.none", f"{name} has no [[{KEY}]]", "docs/privacy.md shows one")
    return rules


def _policy(given: argparse.Namespace) -> RedactionPolicy:
    """Return what the policy that holds here says; the home is opened only if a hash needs its key."""
    from mpp_exec.consent.policy_file import PolicyFiles  # noqa: PLC0415 -- not for --help
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415
    from mpp_exec.privacy.policy import RedactionPolicy, effective_actions  # noqa: PLC0415
    from mpp_exec.registry.home import Home, resolve_home  # noqa: PLC0415
    from mpp_exec.trust.keyfiles import KeyFolder  # noqa: PLC0415

    folder = resolve_path(given.home) or resolve_home()
    policy = PolicyFiles(folder).load()
    actions = effective_actions(organisation=policy.redaction, rules=policy.redaction_rules)
    key = None
    if "hash" in actions.values():
        key = KeyFolder(Home.open(folder).keys).home_key().derive("redaction-hash")
    second = "presidio" if given.second_opinion else policy.second_opinion
    return RedactionPolicy(actions, hash_key=key, rules=policy.redaction_rules, second_opinion=second)


VERBS: Final = {"redact": Verb(_arguments, _redact)}
