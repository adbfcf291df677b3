"""The verbs: what each is called, what it does in a line, and which module knows more.

A verb stands here when it works. Only the module of the verb that was typed is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final, NamedTuple

from mpp_exec.cli.parser import Verb, VerbParser


class Entry(NamedTuple):
    """One verb: ``shown`` is how it stands in the list of all; ``module`` is one of this package."""

    module: str
    shown: str
    summary: str


VERBS: Final[dict[str, Entry]] = {
    "init": Entry("authoring", "init DIR", "make a tool that builds, runs and has a test"),
    "keygen": Entry("authoring", "keygen PUBLISHER", "make a key pair to sign packages with"),
    "wrap": Entry("wrapping", "wrap SOURCE -o DIR", "turn a published MCP server into a package source"),
    "build": Entry("authoring", "build DIR", "check a folder, sign it, write the package"),
    "verify": Entry("packages", "verify FILE|REF", "check everything about a package"),
    "inspect": Entry(
        "packages", "inspect FILE|NAME|REF", "show what a package is, what it asks for and contains"
    ),
    "publisher list": Entry("publishers", "publisher list", "list the publishers this home trusts"),
    "publisher add": Entry("publishers", "publisher add NAME KEY", "trust a publisher's key"),
    "publisher show": Entry("publishers", "publisher show NAME", "show a publisher's key and key id"),
    "publisher rotate": Entry(
        "rotating",
        "publisher rotate NAME|FILE",
        "replace your key, or accept a publisher's new one",
    ),
    "publisher revoke": Entry(
        "publishers", "publisher revoke NAME|ID", "distrust a key or a package from now on"
    ),
    "publisher remove": Entry("publishers", "publisher remove NAME", "stop trusting a publisher"),
    "push": Entry("distributing", "push FILE REF", "store a package in a registry"),
    "pull": Entry("distributing", "pull REF", "get a package file from a registry"),
    "install": Entry("consenting", "install FILE|REF", "verify a package, ask for approval, store it"),
    "approve": Entry("consenting", "approve NAME", "agree to what an installed package asks for, or to less"),
    "revoke": Entry("consenting", "revoke NAME", "withdraw the approval and end running calls"),
    "uninstall": Entry("consenting", "uninstall NAME", "remove a package and its storage"),
    "list": Entry("packages", "list", "list installed packages"),
    "run": Entry("calls", "run NAME [TOOL] [KEY=VALUE]…", "call a tool once, in a fresh sandbox"),
    "confirm": Entry("confirming", "confirm [ID]", "confirm or refuse a call that waits for a person"),
    "explain": Entry("calls", "explain NAME [TOOL]", "show what a tool can reach, and what enforces it"),
    "mcp": Entry("agents", "mcp", "serve the approved tools to an agent over MCP"),
    "serve": Entry("serving", "serve", "keep a runtime resident, so that calls start at once"),
    "trace": Entry("tracing", "trace NAME [TOOL] [KEY=VALUE]…", "run a tool under watch, show what it needs"),
    "redact": Entry("redaction", "redact", "redact sensitive data in text or JSON from stdin"),
    "audit list": Entry("auditing", "audit list", "list entries of the ledger, newest first"),
    "audit show": Entry("auditing", "audit show ID", "show one entry, or prove its arguments or result"),
    "audit verify": Entry("auditing", "audit verify", "check that no entry was changed, removed or cut off"),
    "audit export": Entry("auditing", "audit export", "write the ledger as JSON Lines"),
    "audit erase": Entry(
        "auditing", "audit erase ID", "make a call's arguments and result unprovable for good"
    ),
    "audit restart": Entry("auditing", "audit restart", "set a damaged ledger aside and begin a new one"),
    "policy show": Entry("policies", "policy show", "show the most that the policy allows"),
    "policy check": Entry("policies", "policy check", "list installed packages that exceed the policy"),
    "doctor": Entry("host", "doctor", "test what this host can enforce"),
    "completion": Entry("completion", "completion SHELL", "print a completion script for bash, zsh or fish"),
}

GROUPS: Final = (
    ("making packages", ("init", "wrap", "keygen", "build", "push")),
    (
        "trusting",
        (
            "verify",
            "inspect",
            "publisher list",
            "publisher add",
            "publisher show",
            "publisher rotate",
            "publisher revoke",
            "publisher remove",
        ),
    ),
    ("getting tools", ("pull", "install", "approve", "revoke", "uninstall", "list")),
    ("using tools", ("run", "confirm", "mcp", "serve", "explain", "trace", "redact")),
    (
        "looking back",
        ("audit list", "audit show", "audit verify", "audit export", "audit erase", "audit restart"),
    ),
    ("this host", ("policy show", "policy check", "doctor", "completion")),
)

FAMILIES: Final = ("publisher", "audit", "policy")
"""Words that need a second one."""


def load(verb: str) -> tuple[VerbParser, Verb]:
    """Import the module of *verb* and return its parser, configured, and what runs it."""
    entry = VERBS[verb]
    found: Verb = import_module(f"mpp_exec.cli.{entry.module}").VERBS[verb]
    parser = VerbParser(verb, entry.shown, entry.summary)
    found.configure(parser)
    return parser, found
