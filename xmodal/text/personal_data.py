"""What personal data looks like: patterns (RE2, no lookaround) and checksums, all of it in-graph.

Each is written so that it runs inside a SavedModel, which has no Python. The tests hold the checksums
to python-stdnum and the telephone numbers to phonenumbers, libraries that cannot run there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

# Length -> countries (SWIFT IBAN registry, release 101).
IBAN_LENGTHS = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
# Digits of the issuers: Visa, Mastercard, American Express, Diners, JCB, Discover, Maestro, UnionPay.
_ISSUERS = r"(?:4|5[0-8]|2[2-7]|3[4-8]|30[0-5]|0604|2131|1800|6)"
_SECRETS = (
    "access_token|api_?key|apikey|auth|authorization|client_secret|code|credential|jwt|key|pass|passwd|"
    "password|pwd|secret|session|session_?id|sid|sig|signature|sso|ticket|token|x-amz-signature"
)


@dataclass(frozen=True)
class Kind:
    """One kind of personal data.

    Attributes:
        mark: what stands in its place.
        pattern: what it looks like.
        candidate: what is looked at as a whole: the pattern with all that hangs on it, so that a part of
            a longer number is never taken for a number.
        check: candidates that fit the pattern (M,) strings -> bool (M,); None takes all.
    """

    mark: str
    pattern: str
    candidate: str
    check: Callable[[tf.Tensor], tf.Tensor] | None = None


def luhn(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether numbers (M,), digits and separators, fulfil ISO/IEC 7812-1, annex B."""
    digits, lengths = _digits(numbers, 20)
    from_right = lengths[:, None] - 1 - tf.range(20)[None, :]
    twice = tf.where(digits > 4, 2 * digits - 9, 2 * digits)
    values = tf.where(from_right % 2 == 1, twice, digits)
    return tf.reduce_sum(tf.where(from_right >= 0, values, 0), axis=1) % 10 == 0


def _card(numbers: tf.Tensor) -> tf.Tensor:
    lengths = tf.strings.length(numbers)
    return luhn(numbers) & (lengths >= 12) & (lengths <= 19)


def iban(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether IBANs (M,) of the right length fulfil ISO 7064, MOD 97-10."""
    plain = tf.strings.regex_replace(numbers, r"\s", "")
    turned = tf.strings.regex_replace(plain, "^(.{4})(.*)$", r"\2\1")
    codes = tf.cast(tf.io.decode_raw(turned, tf.uint8, fixed_length=36), tf.int32)
    # A letter stands for two digits, 10 to 35. What a character counts, modulo 97, follows from the
    # number of digits after it.
    value = tf.where(codes >= ord("A"), codes - ord("A") + 10, codes - ord("0"))
    digits = tf.where(codes > 0, tf.where(value > 9, 2, 1), 0)
    after = tf.cumsum(digits, axis=1, exclusive=True, reverse=True)
    powers = tf.constant([pow(10, exponent, 97) for exponent in range(73)])
    counted = tf.where(codes > 0, value * tf.gather(powers, after), 0)
    return tf.reduce_sum(counted, axis=1) % 97 == 1


def resident_id(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether Chinese resident identity numbers (M,) fulfil GB 11643, ISO 7064 MOD 11-2."""
    codes = tf.cast(tf.io.decode_raw(numbers, tf.uint8, fixed_length=18), tf.int32)
    ten = (codes == ord("X")) | (codes == ord("x"))
    weights = tf.constant([2 ** (17 - place) % 11 for place in range(18)])
    return tf.reduce_sum(tf.where(ten, 10, codes - ord("0")) * weights, axis=1) % 11 == 1


def _telephone(numbers: tf.Tensor) -> tf.Tensor:
    """Counts digits, without the extension: from 7 of a national number to 15 (E.164) after 00."""
    _, lengths = _digits(tf.strings.regex_replace(numbers, r"(?i)\s?(?:x|ext\.?|#)\s?\d+$", ""), 20)
    return (lengths >= 7) & (lengths <= 17)


def _digits(numbers: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the digits (M, most), filled up by others on the right, and how many there are (M,)."""
    plain = tf.strings.regex_replace(numbers, r"\D", "")
    codes = tf.io.decode_raw(plain, tf.uint8, fixed_length=most)
    return tf.cast(codes, tf.int32) - ord("0"), tf.strings.length(plain)


def _iban_pattern() -> str:
    forms = [
        rf"(?:{'|'.join(countries.split())}) ?\d ?\d(?: ?[A-Z0-9]){{{length - 4}}}"
        for length, countries in IBAN_LENGTHS.items()
    ]
    return rf"(?:{'|'.join(forms)})"


def _ipv6_pattern() -> str:
    """The forms of RFC 4291, section 2.2: whole, or with one run of zeros left out."""
    group = "[0-9A-Fa-f]{1,4}"
    address = r"\d{1,3}(?:\.\d{1,3}){3}"
    forms = [f"(?:{group}:){{7}}{group}", f"(?:{group}:){{6}}{address}"]
    forms += [
        f"(?:{group}(?::{group}){{0,{before}}})?::(?:{group}(?::{group}){{0,{5 - before}}})?"
        for before in range(6)
    ]
    forms.append(f"::(?:[Ff]{{4}}:)?{address}")
    return f"(?:{'|'.join(forms)})"


# What hangs on a number makes it another one.
_BEFORE, _AFTER = r"(?:[\w+-]|\d[.,])*", r"(?:[\w-]|[.,]\d)*"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_SSN = (
    r"(?:00[1-9]|0[1-9]\d|[1-57-8]\d{2}|6(?:[0-5]\d|6[0-57-9]|[7-9]\d))"
    r"(?:-(?:0[1-9]|[1-9]\d)-| (?:0[1-9]|[1-9]\d) )"
    r"(?:000[1-9]|00[1-9]\d|0[1-9]\d{2}|[1-9]\d{3})"
)
# QQ and ZZ, and the suffix T, are those of examples.
_NINO = r"(?:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]|QQ|ZZ) ?\d{2} ?\d{2} ?\d{2} ?[A-DT]"
_RESIDENT_ID = r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]"
_CARD = rf"{_ISSUERS}\d{{8,18}}"
_GROUPED_CARD = r"(?:\d{4}[ -]){3}\d{4}|\d{4}[ -]\d{6}[ -]\d{4,5}"
_LONG_GROUPED_CARD = r"(?:\d{4}[ -]){4}\d{3}|\d{6}[ -]\d{13}"
_NORTH_AMERICA = (
    r"(?:(?:\+|00)1[ .-]?|1[ .-])?(?:\([2-9]\d{2}\)|[2-9]\d{2})[ .-]?[2-9]\d{2}[ .-]?\d{4}"
    r"(?: ?(?i:x|ext\.?|#) ?\d{1,6})?"
)
_BRITAIN = (
    r"(?:(?:\+|00)44 ?(?:\(0\) ?)?(?:[127]\d{3} ?\d{3} ?\d{3}|[12389]\d{2} ?\d{3} ?\d{4}|2\d ?\d{4} ?\d{4})"
    r"|(?:\(02\d\)|02\d)[ -]?\d{4}[ -]?\d{4}|(?:\(0[1389]\d{2}\)|0[1389]\d{2})[ -]?\d{3}[ -]?\d{4}"
    r"|(?:\(0[17]\d{3}\)|0[17]\d{3})[ -]?\d{3}[ -]?\d{3}|(?:\(01\d{3}\)|01\d{3})[ -]\d{5})"
)
_AREA = r"(?:10|2\d|[3-9]\d{2})"
_CHINA = (
    r"(?:(?:\+|00)?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}"
    rf"|(?:(?:\+|00)86[ -]?(?:\(0?{_AREA}\)|0?{_AREA})|\(0{_AREA}\)|0{_AREA})[ -]?[2-9]\d{{2,3}}[ -]?\d{{4}}"
    r"|[48]00[ -]\d{3,4}[ -]\d{3,4}"
)
_ELSEWHERE = r"(?:\+|00)[2-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)|\d{1,4})(?:[ .-]?\d{2,4}){1,4}"
_TELEPHONE = rf"(?:{_NORTH_AMERICA}|{_BRITAIN}|{_CHINA}|{_ELSEWHERE})"
# A mark of punctuation at the end of an address is that of the sentence.
_IN_URL, _END_OF_URL = r"[\w.~:/?#@!$&'*+,;=%-]", r"[\w/~#&=%+-]"
_SECRET_URL = (
    rf"(?i:[a-z][a-z0-9+.-]{{1,20}}://(?:[\w.~!$&'*+,;=%-]+:[\w.~!$&'*+,;=:%-]+@{_IN_URL}*{_END_OF_URL}"
    rf"|{_IN_URL}*[?&#;](?:{_SECRETS})=(?:{_IN_URL}*{_END_OF_URL})))"
)
_EMAIL = (
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]*[A-Za-z0-9_]"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+"
)


def _hanging(mark: str, pattern: str, check=None) -> Kind:
    return Kind(mark, pattern, rf"{_BEFORE}(?:{pattern}){_AFTER}", check)


# In this order: what was replaced is not looked at again.
KINDS = (
    Kind("[URL]", _SECRET_URL, _SECRET_URL),
    Kind("[EMAIL]", _EMAIL, _EMAIL),
    _hanging("[IBAN]", _iban_pattern(), iban),
    _hanging("[ID]", _RESIDENT_ID, resident_id),
    _hanging("[CARD]", _LONG_GROUPED_CARD, luhn),
    _hanging("[CARD]", _GROUPED_CARD, luhn),
    _hanging("[CARD]", _CARD, _card),
    _hanging("[ID]", _SSN),
    _hanging("[ID]", _NINO),
    Kind("[IP]", _ipv6_pattern(), r"(?:\w|::)[\w:.]*:[\w:.]*(?:\w|::)|::\w"),
    Kind("[IP]", _IPV4, r"[\w-]+(?:\.[\w-]+){3,}"),
    _hanging("[PHONE]", _TELEPHONE, _telephone),
)
MARKS = tuple(dict.fromkeys(kind.mark for kind in KINDS))
