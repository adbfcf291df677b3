"""Detectors for passwords that only a command, or a file of one program, says the place of.

``ldapsearch -w``, ``zip -P``, ``lftp -u user,word``, ``sqlplus user/word@db``, ``ConvertTo-SecureString`` and
the lines of ``.pgpass``: no name announces the password there. The program's does, in front of it.

Sources: the manuals of OpenLDAP, Info-ZIP, lftp, Redis, Net-SNMP and PostgreSQL ("The Password File"),
Oracle's guide of SQL*Plus, Microsoft's references of ``ConvertTo-SecureString`` and ``net use``, Cisco's of
``snmp-server community``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.anchors import WHOLE, WORD, Needle
from mpp_exec.privacy.finding import MASK, Candidate
from mpp_exec.privacy.values import judged

_RULE: Final = "command_password"
# The words of one command: up to the end of its line, or of the next one if it goes on there.
_WORDS: Final = r"(?:[^\n|;&\\]|\\\r?\n|\\.){0,400}?"
_QUOTE: Final = r"(?P<quote>\\?[\"']?)"
_WORD: Final = r"(?P<value>[^\s\"'`<>|;\\]{4,128})(?=[\s\"'`|;\\)]|\Z)"

_LDAP: Final = lazily(rf"{_WORDS}\s-w[ =]?{_QUOTE}{_WORD}")
_ZIP: Final = lazily(rf"{_WORDS}\s-P[ ]?{_QUOTE}{_WORD}")
_LFTP: Final = lazily(rf"{_WORDS}\s(?:-u|user)[ ]?{_QUOTE}[^\s,\"'`]{{1,64}}(?:,|[ ]){_WORD}")
# ``sqlplus -S scott/word@db``; a path (``sqlplus /nolog``) is no user.
_ORACLE: Final = lazily(
    r"(?:[ ]-[A-Za-z]{1,10}(?:[ ][0-9.]{1,8})?){0,4}[ ](?:userid=)?"
    rf"{_QUOTE}[A-Za-z][\w$#]{{0,29}}/"
    r"(?P<value>[^\s\"'`<>|;\\/@]{4,30})(?=[\s\"'`@\\]|\Z)"
)
_JDBC: Final = lazily(
    r"(?:thin|oci8?|kprb):[A-Za-z][\w$#]{0,29}/\\?\"?(?P<value>[^\s\"'`<>|;\\/@]{4,128})\\?\"?@"
)
_SECURE: Final = lazily(
    r"(?:[ ]-(?:AsPlainText|Force)){0,2}[ ](?:-String[ ])?"
    r"(?:(?P<quote>\\?[\"'])(?P<value>[^\r\n\"'\\]{4,128})(?P=quote)"
    r"|(?P<bare>[^\s\"'$(@-][^\s\"']{3,127})[ ]-AsPlainText)",
    re.IGNORECASE,
)
_REDIS: Final = lazily(rf"{_WORDS}\s(?:-a|--pass)[ =]{_QUOTE}{_WORD}")
_SMB: Final = lazily(
    r"[ ]{1,4}(?:[A-Za-z*]:?[ ]{1,4})?\\{2,4}[^\s\"']{1,128}[ ]{1,4}(?:/\S{1,64}[ ]{1,4}){0,4}"
    rf"{_QUOTE}(?!/){_WORD}",
    re.IGNORECASE,
)
# The community of SNMP opens a device as a password does (RFC 3584); ``public`` is everybody's.
_COMMUNITY: Final = lazily(rf"[ ]{{1,4}}(?!public[ ])(?:[078][ ])?{_QUOTE}{_WORD}")
_SNMP: Final = lazily(rf"{_WORDS}\s-c[ ]?{_QUOTE}(?!public[\s\"']){_WORD}")
_LDAP_COMMANDS: Final = (
    *("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami", "ldapmodrdn"),
    *("ldapcompare", "ldapexop"),
)
_SNMP_COMMANDS: Final = ("snmpwalk", "snmpget", "snmpset", "snmpbulkwalk", "snmptrap")
_ZIP_COMMANDS: Final = ("zip", "unzip", "zipcloak")
_READ: Final = {
    **dict.fromkeys(_LDAP_COMMANDS, _LDAP),
    **dict.fromkeys(_ZIP_COMMANDS, _ZIP),
    "lftp": _LFTP,
    **dict.fromkeys(("sqlplus", "sqlldr", "expdp", "impdp", "rman target"), _ORACLE),
    "jdbc:oracle:": _JDBC,
    "convertto-securestring": _SECURE,
    "redis-cli": _REDIS,
    "net use": _SMB,
    "snmp-server community": _COMMUNITY,
    **dict.fromkeys(_SNMP_COMMANDS, _SNMP),
}
_FLAGS: Final = {
    **dict.fromkeys(_SNMP_COMMANDS, "-c"),
    **dict.fromkeys(_LDAP_COMMANDS, "-w"),
    **dict.fromkeys(_ZIP_COMMANDS, "-P"),
}
_LONGEST_COMMAND: Final = 1024
NEEDLES: Final = tuple(Needle(word, 0 if word.endswith(":") else WORD | WHOLE) for word in _READ)


def passwords(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the passwords that commands are given whose names are at *places* of *text*."""
    found: list[Candidate] = []
    for at, word in places:
        meter.step(len(found))
        if (flag := _FLAGS.get(word)) and text.find(flag, at, at + _LONGEST_COMMAND) < 0:
            continue  # to look for it costs far less than to try the pattern
        given = _READ[word].match(text, at + len(word))
        if not given:
            continue
        group = "value" if given["value"] else "bare"
        value = given[group]
        if MASK.match(text, given.start(group)) or value.startswith(("-", "$", "%")):
            continue
        if each := judged(value, given.start(group), "password", quoted=True, shell=False):
            found.append(each._replace(rule=_RULE))
    return found


# The second field of a line of ``.pgpass``: the port of what speaks PostgreSQL's protocol, or any.
_PORTS: Final = (":5432:", ":5433:", ":5434:", ":5439:", ":6432:", ":6543:", ":26257:", ":*:")
PGPASS_NEEDLES: Final = tuple(Needle(port) for port in _PORTS)
_LONGEST_HOST: Final = 254
_HOST: Final = lazily(r"(?:\A|(?<=[\s\"'`])|(?<=\\n))(?:\*|[0-9A-Za-z_./-]{1,253})\Z")
# Database, user and password, in which a colon and a backslash have a backslash in front. Numbers in the
# places of names are those of a line of ``/etc/passwd``, or of a compiler's message.
_FIELDS: Final = lazily(
    r"(?!-?[0-9]+:)[^\s:\"'`]{1,64}:(?!-?[0-9]+:)[^\s:\"'`]{1,64}:"
    r"(?P<value>(?:\\[:\\]|[^\s:\\\"'`]){4,128})(?=[ \t]{0,8}(?:[\r\n\"'`]|\\[nr\"]|\Z))"
)


def pgpass_lines(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the passwords of the lines of ``.pgpass`` in *text* that have a port at one of *places*."""
    found: list[Candidate] = []
    for at, port in places:
        meter.step(len(found))
        fields = _FIELDS.match(text, at + len(port))
        if not fields or not _HOST.search(text[max(0, at - _LONGEST_HOST) : at]):
            continue
        if each := judged(fields["value"], fields.start("value"), "password", quoted=True, shell=False):
            found.append(each._replace(rule=_RULE))
    return found
