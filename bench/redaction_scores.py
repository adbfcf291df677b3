"""How well redaction does on labelled data, by rules that are defined only here.

1. A labelled span counts as *found* if findings, of whatever kind, cover at least four fifths of its letters
   and digits: what matters is that it does not get out. It counts as *named* if a finding of the label's own
   kind touches it.
2. A harmless document counts as a *false alarm* if anything at all is found in it.
3. *Excess* is the share of found letters and digits, in documents with labels, that no label covers.
4. Secrets are judged by line, as is usual for tools that look for secrets: a line with a secret is found if
any
   secret is found in it, and a line without a secret is a false alarm if any secret is found in it.
5. Labels that are wrong by the format's own definition are *declined*: counted apart, with the reason.

The development data is not part of the project: ``MPP_PRIVACY_DATA`` or ``--data`` names its folder.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mpp_exec.privacy.finding import Finding
from mpp_exec.privacy.redact import redact

VARIABLE: Final = "MPP_PRIVACY_DATA"
COVERED: Final = 0.8
# Maps the labels of other people's data to our kinds. A label that is not in here is none of our kinds.
KINDS: Final = {
    "EMAIL": "email",
    "PHONE": "phone",
    "CREDIT_CARD": "credit_card",
    "US_SSN": "ssn",
    "IBAN": "iban",
    "DE_IBAN": "iban",
    "IP": "ip_address",
    "MAC": "mac_address",
    "VIN": "vin",
    "DOB": "date_of_birth",
    "PASSPORT": "passport",
    "DRIVER_LICENSE": "drivers_license",
    "ACCOUNT": "bank_account",
    "PERSON": "person",
    "ADDRESS": "address",
}
# The recogniser tests whose kind is one of our kinds; a count of 0 makes the row harmless.
RECOGNISERS: Final = {
    "credit_card": "credit_card",
    "crypto": "crypto_address",
    "email": "email",
    "ip": "ip_address",
    "mac": "mac_address",
    "phone": "phone",
}
STRUCTURED: Final = (
    "email", "phone", "credit_card", "ssn", "iban", "ip_address", "mac_address", "vin", "url_credential",
)  # fmt: skip
SECRET_KINDS: Final = ("secret", "url_credential")


@dataclass(frozen=True, slots=True)
class Row:
    """One document and its labels: (start, end, kind), with offsets in code points."""

    text: str
    spans: tuple[tuple[int, int, str], ...]
    source: str
    adversarial: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of code (or a few lines), and whether it contains a secret."""

    text: str
    secret: bool
    rule: str


@dataclass
class Recall:
    """Labels of one kind."""

    labels: int = 0
    found: int = 0
    named: int = 0

    @property
    def share(self) -> float:
        return self.found / self.labels if self.labels else 1.0


@dataclass
class Scores:
    """The results of :func:`score` for documents."""

    kinds: dict[str, Recall] = field(default_factory=lambda: defaultdict(Recall))
    declined: Counter[str] = field(default_factory=Counter)
    harmless: int = 0
    alarms: int = 0
    found_characters: int = 0
    excess_characters: int = 0
    missed: list[tuple[str, str, str]] = field(default_factory=list)
    alarmed: list[tuple[str, tuple[Finding, ...]]] = field(default_factory=list)

    def recall(self, kinds: Iterable[str]) -> float:
        """Return the share of labels that are found, over several kinds together."""
        chosen = [self.kinds[kind] for kind in kinds if kind in self.kinds]
        labels = sum(each.labels for each in chosen)
        return sum(each.found for each in chosen) / labels if labels else 1.0

    @property
    def alarm_rate(self) -> float:
        return self.alarms / self.harmless if self.harmless else 0.0

    @property
    def excess(self) -> float:
        return self.excess_characters / self.found_characters if self.found_characters else 0.0


@dataclass
class LineScores:
    """The results of :func:`score_lines` for lines."""

    secrets: int = 0
    found: int = 0
    labelled: int = 0  # including the declined ones
    labelled_found: int = 0
    others: int = 0
    alarms: int = 0
    declined: Counter[str] = field(default_factory=Counter)
    missed: list[Line] = field(default_factory=list)
    alarmed: list[Line] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.found / self.secrets if self.secrets else 1.0

    @property
    def recall_of_all(self) -> float:
        """Return the share of found lines among all labelled lines, including the declined ones."""
        return self.labelled_found / self.labelled if self.labelled else 1.0

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.alarms) if self.found + self.alarms else 1.0


def score(rows: Iterable[Row]) -> Scores:
    """Redact every document and compare with its labels."""
    scores = Scores()
    for row in rows:
        findings = redact(row.text).findings
        if not row.spans:
            scores.harmless += 1
            if findings:
                scores.alarms += 1
                scores.alarmed.append((row.text, findings))
            continue
        covered = _covered(row.text, findings)
        scores.found_characters += len(covered)
        labelled: set[int] = set()
        for start, end, kind in row.spans:
            wanted = {at for at in range(start, end) if row.text[at].isalnum()}
            labelled |= wanted
            if not kind:
                continue
            if reason := declined(row.text[start:end], kind, row.adversarial):
                scores.declined[reason] += 1
                continue
            recall = scores.kinds[kind]
            recall.labels += 1
            if len(wanted & covered) >= COVERED * len(wanted):
                recall.found += 1
            else:
                scores.missed.append((kind, row.text[start:end], row.text))
            recall.named += any(f.kind == kind and f.start < end and start < f.end for f in findings)
        scores.excess_characters += len(covered - labelled)
    return scores


def score_lines(lines: Iterable[Line]) -> LineScores:
    """Redact every line and compare."""
    lines = list(lines)
    scores = LineScores()
    secret_texts = {line.text for line in lines if line.secret}
    for line in lines:
        found = any(finding.kind in SECRET_KINDS for finding in redact(line.text).findings)
        scores.labelled += line.secret
        scores.labelled_found += line.secret and found
        if reason := _declined_line(line, secret_texts):
            scores.declined[reason] += 1
            continue
        if line.secret:
            scores.secrets += 1
            scores.found += found
            if not found:
                scores.missed.append(line)
        else:
            scores.others += 1
            scores.alarms += found
            if found:
                scores.alarmed.append(line)
    return scores


def _covered(text: str, findings: Iterable[Finding]) -> set[int]:
    return {at for each in findings for at in range(each.start, each.end) if text[at].isalnum()}


def declined(value: str, kind: str, adversarial: str = "") -> str:
    """Return why a label does not fit the definition of its kind, "" if it does."""
    if adversarial == "partial_mask":
        return "partly masked already: what is left identifies nobody"
    digits = re.sub(r"\D", "", value)
    if kind == "ssn" and len(digits) == 9 and (digits[:3] in ("000", "666")):
        return "SSN area 000 or 666: never issued (SSA, POMS RM 10201.035)"
    if kind == "ip_address" and (
        value.startswith(("127.", "0.0.0.0", "255.255.")) or value in ("::1", "::/0", "::")
    ):
        return "loopback, unspecified or broadcast address: identifies nobody"
    if kind == "ssn" and len(digits) == 9 and (digits[3:5] == "00" or digits[5:] == "0000"):
        return "SSN group 00 or serial 0000: never issued (SSA, POMS RM 10201.035)"
    return ""


# Whole lines that scanners report although they give access to nothing. A line that contains more is judged.
_NOTHING_SECRET: Final = (
    (
        "a host's name or a URL without credentials",
        (
            r"(?:[\w.]{1,40}[ ]?[:=][ ]?)?[\"']?(?:https?(?:://|%2F%2F))?"
            r"(?:[a-z0-9-]+\.)+(?:com|net|io|dev|org)/?(?:[a-z_-]+/?){0,3}[\"']?"
        ),
    ),
    ("an ARN, which names a thing", r"[^\n]{0,60}\barn:aws:[^\n]{0,120}"),
    (
        "the name of a client, an account or a user",
        (
            r"[^\n]{0,30}(?:client_?id|app_?id|user_?name|_user|account|org_id|bot_id|storage_name)[\"']?"
            r"[ ]{0,8}[:=]{1,2}>?[ ]{0,2}[\"']?[\w.-]+[\"']?[,;]?(?:[ ]{1,4}#.{0,60})?"
            r"|[^\n]{0,60}apps\.googleusercontent\.com.{0,80}"
        ),
    ),
    ("a row of x, the place of a value", r"[^\n]{0,40}?[A-Za-z0-9_-]{0,24}x{8,}[\"']?"),
    (
        "an IP address, which is no secret and is found as what it is",
        r"[^\n@]{0,40}\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b[^\n]{0,20}",
    ),
    ("a public key", r"age1[0-9a-z]{58}|(?:pub|sub)-c-[0-9a-z-]{36}"),
    ("a variable, whose value stands elsewhere", r"[^\n]{0,80}-[Pp](?:assword)? [\"']?[$%]\w{1,40}.{0,200}"),
)


def _declined_line(line: Line, secret_texts: set[str]) -> str:
    """Return why a line is not judged, "" if it is."""
    if not line.secret:
        both = line.text in secret_texts
        return "no secret by one rule, but one by another: the same text is labelled both" if both else ""
    for why, form in _NOTHING_SECRET:
        if re.fullmatch(form, line.text.strip(), re.IGNORECASE):
            return f"labelled a secret: {why}"
    return ""


def folder(given: str | None = None) -> Path | None:
    """Return the folder of the development data, or None if it is not named."""
    named = given or os.environ.get(VARIABLE)
    return Path(named) if named else None


def documents(data: Path) -> Iterator[Row]:
    """Yield the labelled documents."""
    for row in _lines(data / "pii.jsonl.gz"):
        if "recognizer" in row:
            yield from _recogniser_row(row)
            continue
        spans = tuple((span["start"], span["end"], KINDS.get(span["label"], "")) for span in row["spans"])
        yield Row(row["text"], spans, row["source"], row.get("adversarial") or "")


def _recogniser_row(row: dict[str, Any]) -> Iterator[Row]:
    """Yield a test of one recogniser, if its kind is one of our kinds and its positions are known."""
    kind = RECOGNISERS.get(row["recognizer"] or "")
    if kind and row["text"] and row["expected_len"] == len(row["spans"]) > 0:
        yield Row(row["text"], tuple((start, end, kind) for start, end in row["spans"]), "presidio")


def harmless(data: Path) -> Iterator[Row]:
    """Yield the documents in which nothing may be found."""
    for row in _lines(data / "harmless.jsonl.gz"):
        yield Row(row["text"], (), row["source"])


def lines(data: Path) -> Iterator[Line]:
    """Yield the lines of code that are labelled as with or without a secret."""
    for row in _lines(data / "secrets.jsonl.gz"):
        if row["truth"] in ("T", "F"):
            yield Line(row["text"], row["truth"] == "T", row["rule"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
