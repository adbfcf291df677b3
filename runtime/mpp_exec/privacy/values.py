"""What a value is that a name announces as a secret: one, a placeholder, code, a path, or words.

Three strengths of names. A *password* may be anything that is no placeholder and no code. A *secret* (token,
API key, credential) has to look as if nobody had thought of it, or as if somebody had made it up. A *key*,
which names map keys more often than secrets, has to be long and random besides.
"""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy.finding import Candidate, listed
from mpp_exec.privacy.secret_names import is_word_for_secret
from mpp_exec.privacy.words import words_of

PLACEHOLDER: Final = lazily(
    r"x{3,}|\*{2,}|\.{3,}|_{3,}|-{4,}|[<\[{(].{0,200}[>\]})]|\$+|\$[A-Za-z_][\w.:>\[\]'-]{0,200}|\$[{(].{0,200}|%.{1,100}%|\{\{?.{0,200}|#\{.{0,100}|@.{0,60}@|[?!]+"
    r"|(?:.{0,40}[^A-Za-z])?(?:your|my|the|insert|enter|replace|change|put|add|use|set|some|fake|dummy|sample|example|placeholder|redacted|removed|masked|hidden|todo|fixme|foo|bar|test|default|undefined)"
    r"(?:[^A-Za-z].{0,80}|me|this|here|it|ing|password|passwd|secret|token|key|api|pass|bar|foo)?"
    r"|.{0,40}(?:changeme|change_me|change-me|placeholder|redacted|xxxxx|your[_-]|[_-]here|yourpass).{0,40}"
    r"|(?:public|protected|virtual|static|const|self|this|await|new|return|true|false|null|none|nil|nan|undefined|void|string|str|text|int|bool|boolean|number|object|any|optional|required|unknown"
    r"|password|passwd|pass|pwd|secret|token|key|apikey|api_key|api-key|username|user|admin|root|basic|bearer|auth|yes|no|on|off|n/a|na|tbd|empty|hidden|disabled|enabled|never|always)[0-9!]{0,1}",
    re.IGNORECASE,
)
# An expression rather than a string: a name with its parts, a call, an index. The parts are joined
# by what they cannot contain, so there is one way to read it.
_CODE: Final = lazily(
    r"[&*!]{0,2}[A-Za-z_$][0-9A-Za-z_$]*+(?:(?:\.|->|::|\?\.)[A-Za-z_$][0-9A-Za-z_$]*+)*(?P<more>[(\[].*)?",
    re.DOTALL,
)
PIECE: Final = lazily(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_WORD_LIKE: Final = lazily(r"[A-Za-z]{0,24}[0-9]{0,5}")
_ALPHABETS: Final = lazily(r"(?i:abcdefghijklmnopq?r?s?t?u?v?w?x?y?z?)|0?123456789?0?")
_CODE_LIKE: Final = lazily(r"[A-Za-z]{2,8}[0-9]{3,5}")  # ABCD-1234 is words, ABCD1234-EFGH5678 is none
_JOINTS: Final = lazily(r"[ _./:+-]")
_CONSONANTS: Final = lazily(r"[bcdfghjklmnpqrstvwxzBCDFGHJKLMNPQRSTVWXZ]{5}")
_PATHLIKE: Final = lazily(
    r"(?:[a-z]{2,10}://|\.{0,2}/|[A-Za-z]:\\|~/)[^@]{0,300}|[\w.-]{1,60}\.(?:json|pem|txt|yml|yaml|key|crt|cer|p12|jks|conf|cfg|ini|env|xml|html?|js|ts|py|rb|go|java|php|com|org|net|io)(?:[:/].{0,200})?",
    re.IGNORECASE,
)
# ``uploads/2026/10/a1b2c3.png``
_FILE: Final = lazily(r"(?:[\w.@-]{1,64}/){1,12}[\w.@-]{1,128}\.[A-Za-z][0-9A-Za-z]{1,4}")
_UUID_ZERO: Final = lazily(r"[0-]{30,}|(.)\1{5,}")


def judged(value: str, at: int, how: str, *, quoted: bool, shell: bool) -> Candidate | None:
    """Return the candidate that *value* at offset *at* is, None if it is a placeholder, code or a plain word.

    *shell*: the name is in capitals, as in a shell or ``.env`` file, where a bare word is a string.
    """
    is_password = how == "password"
    if len(value) < SHORTEST[how] or is_filler(value) or (_is_path(value) and not is_password):
        return None
    if quoted:
        # The name of a variable, or of a message.
        is_code = is_password and "_" in value and _is_expression(value) and is_said_of_secrets(value)
    else:
        plain = is_password and (shell or (value.isalpha() and value.islower() and len(value) >= 6))
        is_code = (
            _is_constant(value)
            or (value[0] in "([{<$!*&" and not _is_word_of_signs(value))
            or bool(_CALLED.match(value) and not is_made_up(value.partition("(")[0]))
            or (not plain and _is_expression(value) and not (is_password and is_scrambled(value)))
        )
    if is_code or _says_nothing(value, quoted=quoted) or (is_password and value.startswith("/")):
        return None
    if is_password or how == "said":
        # A bare word may as well be the name of something.
        is_name = not quoted and value.replace("_", "").replace(".", "").isalpha()
        return secret(value, at, "assigned_password", 0.7 if is_password and not is_name else 0.6)
    if how == "secret" and _is_chosen(value) and (quoted or shell or any(map(str.isdigit, value))):
        return secret(value, at, "assigned_secret", 0.6)
    # A package has these signs: ``npm:@scope/name@1.0.0``, ``github:owner/name#v2.0.1``.
    if not is_random(value) or (how == "key" and (not _is_long(value) or "@" in value or "#" in value)):
        return None
    return secret(value, at, "assigned_secret", 0.6 if how == "key" else 0.75)


def _says_nothing(value: str, *, quoted: bool) -> bool:
    """Tell whether a value is closed to whoever reads it, or the beginning of an index or a call."""
    return value.startswith(_CLOSED) or (not quoted and value.endswith(("[", "(")))


# What is encrypted already (SOPS), and signatures: the DER of ECDSA's two numbers in base64.
_CLOSED: Final = ("ENC[AES256_GCM,", "MEUCI", "MEQCI", "MEYCI")
# ``env(``, ``hashlib.sha256(``
_CALLED: Final = lazily(
    r"[&*!]{0,2}[A-Za-z_$][0-9A-Za-z_$]*+(?:(?:\.|->|::|\?\.)[A-Za-z_$][0-9A-Za-z_$]*+)*\("
)
SHORTEST: Final = {"password": 4, "secret": 6, "key": 12, "said": 3}


def _is_chosen(value: str) -> bool:
    """Tell whether somebody has made up a quoted secret: it has a digit, a sign or both cases in one word."""
    if _NAMELIKE.fullmatch(value):
        return False
    return not value.isalpha() or not (value.islower() or value.isupper() or value.istitle())


# Words as names have them, with what joins them: ``access_token``, ``my-secret-2``, ``Bearer``.
_NAMELIKE: Final = lazily(r"[A-Za-z]{1,24}(?:[-_. /:][A-Za-z]{1,24}){0,8}(?:[-_. ]?[0-9]{1,2})?")


_STAGE: Final = lazily(r"(?:[a-z]{2,3}[_-])?(?:test|live|prod|dev|sandbox|demo)[_-]")


def is_filler(value: str) -> bool:
    """Tell whether a value stands for one that somebody has yet to write, or is no single word."""
    stage = _STAGE.match(value)  # ``test_`` in front of a token says where it is one
    rest = value[stage.end() :] if stage else value
    is_token = stage and len(rest) >= 16 and sum(map(str.isdigit, rest)) > 3 and is_random(rest)
    if PLACEHOLDER.fullmatch(value) and not is_token and not _is_noise(value):
        return True
    if _UUID_ZERO.fullmatch(value) or _VERSION.fullmatch(value) or is_word_for_secret(value):
        return True
    return " " in value.strip() or len(set(value)) < 3


# ``^8.5.1``, ``>=2.0``, ``0.93``, ``v1.2.3-beta.1``
_VERSION: Final = lazily(
    r"[\^~<>=v]{0,2}[0-9]{1,5}(?:\.[0-9]{1,5}){1,3}(?:[-+][0-9a-z.]{1,16})?%?", re.IGNORECASE
)
_WHOLE_WORDS: Final = lazily(r"(?<![0-9A-Za-z])[A-Za-z]{3,}(?![0-9A-Za-z])")


def _is_noise(value: str) -> bool:
    """Tell whether a value is so random that a word in it (``…6Add2…``, ``…/my+…``) is there by chance."""
    if len(value) < 20 or sum(map(str.isdigit, value)) < 3 or _ALPHABETS.search(value):
        return False
    pieces = PIECE.findall(value)
    return sum(map(len, pieces)) < 2.4 * len(pieces) and not any(
        PLACEHOLDER.fullmatch(word) for word in _WHOLE_WORDS.findall(value)
    )


def is_scrambled(value: str) -> bool:
    """Tell whether letters turn from case to case more often than in any name: ``whQnPHHesFwb``."""
    if len(value) < 7 or not value.isalpha():
        return False
    pieces = PIECE.findall(value)
    is_turning = len(pieces) > 2 and len(value) < 2.8 * len(pieces)
    return is_turning or (len(value) < 16 and bool(_CONSONANTS.search(value)))


def is_said_of_secrets(value: str) -> bool:
    """Tell whether words are about secrets, as the names of variables, fields and messages are."""
    return not _OF_SECRETS.isdisjoint(words_of(value))


_OF_SECRETS: Final = listed(
    """
    password passwords passwd pwd pass passphrase passcode passwort pw secret secrets token tokens key keys
    apikey auth cred creds credential credentials login logins signin signup user username users account
    field fields label placeholder hint input inputs form name names value values type id text msg message
    messages error errors invalid required missing wrong incorrect empty null none undefined default
    reset forgot forgotten change changed confirm confirmation current new old my the your get set check
    hash hashed encrypted encoded decrypted raw plain plaintext clear cleartext string str bytes bool int
    config cfg conf settings env environ environment var variable vars param params args arg argument option
    options request response req res body data json props state self this obj object ctx context file path
    manager service controller provider handler helper validator encoder policy rule rules expired expires
    strength length min max count attempts should must mismatch match not visible show hide toggle
    """
)


_PHRASE: Final = lazily(r"[\w'!?,+&@#$%*-]{1,32}(?: [\w'!?,+&@#$%*-]{1,32}){1,11}")
# What the messages and captions are made of that stand under the name of a password, too.
_OF_MESSAGES: Final = listed(
    """
    a an and any are as at be been but by can can't cannot chosen contain contains could didn't do does
    doesn't don't enter entered few for from has have here if in include includes incorrect is isn't it its
    least less letter letters longer match matches may mismatched more most need needs no nor of on one only
    or please provide provided than that there these this to too try type uppercase lowercase use used was
    weak were when will with without won't wrong you blank short long common similar again same characters
    character chars digit digits symbol symbols number numbers words word none see link button
    de du des la le les el los las mot passe paso passo clave acceso acesso senha sandi kata
    """
)
_FEWEST_WORDS: Final = 3  # of a phrase without a digit


def is_phrase(value: str) -> bool:
    """Tell whether a value may be a pass phrase: several words, and no message, caption or placeholder."""
    if not _PHRASE.fullmatch(value):
        return False
    words = value.casefold().split()
    if not _OF_MESSAGES.isdisjoint(words) or not (_OF_SECRETS - {"my"}).isdisjoint(words):
        return False
    if any(map(str.isdigit, value)):
        return not value[0].isdigit()  # ``8 to go``
    return len(words) >= _FEWEST_WORDS and value[0].islower()  # captions start with a capital


def _is_path(value: str) -> bool:
    if len(value) >= 20 and value.count("/") < 3 and value.startswith("/") and _is_noise(value):
        return False  # base64 that starts with the sign
    return bool(_PATHLIKE.fullmatch(value) or _FILE.fullmatch(value)) or (
        value.count("/") > 1 and not is_random(value.replace("/", "-"))
    )


def _is_long(value: str) -> bool:
    digits = sum(map(str.isdigit, value))
    if len(value) < 16:
        return digits >= 3 and value.isalnum() and len(PIECE.findall(value)) >= 4
    return digits >= 2 or len(value) >= 24 or (len(value) >= 20 and is_made_up(value))


def is_made_up(value: str) -> bool:
    """Tell whether a word has digits and letters of both cases, with more turns than a name has."""
    if not any(map(str.isdigit, value)) or value.islower() or value.isupper():
        return False
    return any(map(str.islower, value)) and any(map(str.isupper, value)) and len(PIECE.findall(value)) >= 4


_CONSTANT: Final = 12  # letters of a part of one


def is_random(value: str) -> bool:
    """Tell a token from words, however they are joined: ``user-access-token-2`` is none."""
    if value.isdigit():
        return len(value) >= 12 and len(set(value)) >= 5
    pieces = PIECE.findall(value)
    if len(set(value)) < 5 or not pieces:
        return False
    if not any(map(str.isdigit, value)):
        longest = max(map(len, pieces))
        short = sum(map(len, pieces)) < 3 * len(pieces)
        return short or longest >= 20 or any(map(_CONSONANTS.search, pieces))
    parts = _JOINTS.split(value)
    if value.isupper() and sum(map(str.isalpha, parts)) >= 2 and max(map(len, parts)) <= _CONSTANT:
        return False  # a constant's name: ``PKIX_RSA_PKCS1V15_2048_SHA256``
    codes = sum(bool(_CODE_LIKE.fullmatch(part)) for part in parts)
    is_words = len(parts) > 1 and codes < 2 and all(map(_WORD_LIKE.fullmatch, parts))
    is_alphabet = "abcdefghijklmnop" in value.lower() and "0123456789" in value
    is_alphabet = is_alphabet and len(_ALPHABETS.sub("", value)) < 12
    return not is_words and not is_alphabet and (len(pieces) > 2 or len(value) >= 16)


def _is_constant(value: str) -> bool:
    """Tell whether a value is the name of a constant: ``SEC_ERROR_BASE``."""
    return value.isupper() and "_" in value.strip("_") and value.replace("_", "").isalpha()


def _is_word_of_signs(value: str) -> bool:
    """Tell whether what starts like code is a password with signs: made up, and no bracket is closed."""
    opened = value.count("(") + value.count("[") + value.count("{") + value.count("<")
    closed = value.count(")") + value.count("]") + value.count("}") + value.count(">")
    return is_made_up(value) and (opened == 0 or opened != closed)


def _is_expression(value: str) -> bool:
    """Tell whether an unquoted value is code: a name without digits, with parts, called or indexed."""
    match = _CODE.fullmatch(value)
    if not match:
        return False
    if any(len(part) >= 16 and part.isalnum() and is_random(part) for part in _JOINTS.split(value)):
        return False  # ``s.ZC9Ecf4M5g9o34Q6``
    plain = match["more"] is None and not any(mark in value for mark in (".", "->", "::"))
    return not plain or not any(map(str.isdigit, value))


def secret(value: str, at: int, rule: str, score: float) -> Candidate:
    """Return the candidate that *value* at offset *at* is."""
    return Candidate("secret", at, at + len(value), score, value, rule)
