"""Detectors for addresses of crypto-currencies, by their checksums.

Sources: Base58Check (Bitcoin developer reference, "Base58Check"), bech32 and bech32m (BIP 173, BIP 350),
Ethereum (EIP-55: twenty bytes in hexadecimal behind ``0x``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import Candidate

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LEGACY_FORM: Final = "[13LDt][1-9A-HJ-NP-Za-km-z]{25,34}"
_BECH32_FORM: Final = "(?:bc|tb|ltc)1[02-9ac-hj-np-z]{11,87}"
_LEGACY: Final = lazily(_LEGACY_FORM)
_ANY: Final = lazily(
    rf"(?<![0-9A-Za-z])(?:{_LEGACY_FORM}|(?i:{_BECH32_FORM})|0x[0-9A-Fa-f]{{40}})(?![0-9A-Za-z])"
)
_ZERO: Final = "0" * 40


def wallets(text: str, _key: str, starts: Sequence[int]) -> list[Candidate]:
    """Return the addresses of five currencies in *text* at *starts*."""
    return [
        Candidate("crypto_address", match.start(), match.end(), 0.95, match[0])
        for at in meter.steps(starts)
        if (match := _ANY.match(text, at)) and _is_address(match[0])
    ]


def _is_address(written: str) -> bool:
    if written.startswith("0x"):
        return written[2:] != _ZERO
    return _is_base58check(written) if _LEGACY.fullmatch(written) else _is_bech32(written)


def _is_base58check(address: str) -> bool:
    """Tell whether an address ends in the checksum of its version and hash: 25 bytes, or 26 for Zcash."""
    import hashlib  # noqa: PLC0415  # loads OpenSSL, and few texts hold anything like an address

    number = 0
    for character in address:
        number = number * 58 + _BASE58.index(character)
    size = 26 if address[0] == "t" else 25
    if number.bit_length() > size * 8:
        return False
    data = number.to_bytes(size, "big")
    return hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] == data[-4:]


_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _is_bech32(address: str) -> bool:
    """Tell whether the last six characters are the checksum (constant 1 for bech32, another for bech32m)."""
    if address.lower() != address and address.upper() != address:
        return False
    prefix, _, data = address.lower().rpartition("1")
    values = (
        [ord(c) >> 5 for c in prefix]
        + [0]
        + [ord(c) & 31 for c in prefix]
        + [_CHARSET.index(c) for c in data]
    )
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)
