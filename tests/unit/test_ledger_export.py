"""The exported ledger, rechecked by someone who has none of the project's code."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
import nacl.exceptions
import nacl.signing
import pytest

from ledger_samples import HOME_KEY, attacker, call, fill, open_ledger
from mpp_exec.audit import head
from mpp_exec.errors import InternalError


def recheck(lines: list[str], key: str) -> int:
    """Follow the documentation of the format; return the number of the entry that the head names."""
    first, *entries, last = map(json.loads, lines)
    assert first == {"format": "mpp-exec-ledger", "version": 1, "key": key}
    previous = bytes(32)
    for number, line in enumerate(entries, 1):
        body = base64.b64decode(line["body"], validate=True)
        label = b"mpp-exec ledger entry v1\0"
        digest = hashlib.sha256(label + number.to_bytes(8, "big") + previous + body).digest()
        assert (line["sequence"], line["previous"], line["hash"]) == (number, previous.hex(), digest.hex())
        assert cbor2.loads(body)["kind"] == line["entry"]["kind"]
        previous = digest
    message = base64.b64decode(last["head"], validate=True)
    nacl.signing.VerifyKey(bytes.fromhex(key)).verify(message, bytes.fromhex(last["signature"]))
    sealed = cbor2.loads(message.removeprefix(b"mpp-exec ledger head v1\0"))
    assert entries[sealed["sequence"] - 1]["hash"] == sealed["hash"].hex()
    return int(sealed["sequence"])


KEY = head.signing_key(HOME_KEY).public_key.hex()


def exported(home: Path) -> list[str]:
    return list(open_ledger(home).export())


def test_a_third_party_can_recheck_it(tmp_path: Path) -> None:
    fill(tmp_path, 150)
    lines = exported(tmp_path)
    assert recheck(lines, KEY) == 302
    assert len(lines) == 304
    assert not any("\n" in line for line in lines)


def test_entries_are_there_to_be_read(tmp_path: Path) -> None:
    invocation = fill(tmp_path, 1)[0]
    entry: dict[str, Any] = json.loads(exported(tmp_path)[3])["entry"]
    assert (entry["kind"], entry["call"], entry["terms"]["tool"]) == ("start", invocation, "query")
    assert entry["at"].endswith("Z")


def test_no_commitment_key_leaves_the_home(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with attacker(tmp_path) as database:
        keys = [row[0] for row in database.execute("SELECT sealed FROM keys")]
    text = "\n".join(exported(tmp_path))
    assert len(keys) == 2
    for key in keys:
        assert key.hex() not in text
        assert base64.b64encode(key).decode() not in text


def test_it_is_exported_while_it_grows(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        call(ledger)
        lines = ledger.export()
        first = next(lines)
        call(ledger)
        assert recheck([first, *lines], KEY) == 1


def test_an_edited_export_does_not_pass(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    lines = exported(tmp_path)
    removed = lines[:2] + lines[3:]
    swapped = [*lines[:3], lines[4], lines[3], *lines[5:]]
    cut_off = lines[:-2] + lines[-1:]
    for broken in (removed, swapped, cut_off):
        with pytest.raises((AssertionError, IndexError)):
            recheck(broken, KEY)
    other = "00" * 32
    with pytest.raises(nacl.exceptions.BadSignatureError):
        recheck([lines[0].replace(KEY, other), *lines[1:]], other)


def test_what_was_tampered_with_shows_in_the_export(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    with attacker(tmp_path) as database:
        database.execute("UPDATE entries SET body = x'a0' WHERE sequence = 3")
    with pytest.raises(AssertionError):
        recheck(exported(tmp_path), KEY)


def test_a_head_that_is_none_is_not_exported_as_one(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (tmp_path / "ledger.head").write_bytes(b"\xa0")
    with pytest.raises(InternalError) as caught:
        exported(tmp_path)
    assert caught.value.code == "ledger.tampered"
