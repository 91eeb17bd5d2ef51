"""What personal data looks like: patterns (RE2, no lookaround) and checksums, all of it in-graph.

Each is written so that it runs inside a SavedModel, which has no Python. The tests hold the checksums
to python-stdnum and the telephone numbers to phonenumbers, libraries that cannot run there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from xmodal.text import checksums, telephones
from xmodal.text.telephones import DASH

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


@dataclass(frozen=True)
class Kind:
    """One kind of personal data.

    Attributes:
        mark: what stands in its place.
        pattern: what it looks like.
        before: what stands before it and stays, such as a word that says what follows.
        spoilt_before, spoilt_after: what makes another thing of it: it is looked at with what hangs on it,
            so that a part of a longer number is never taken for a number.
        check: what fits the pattern (M,) strings -> bool (M,); None takes all.
        unless: what fits this is none, whatever it fits besides.
    """

    mark: str
    pattern: str
    before: str = ""
    spoilt_before: str = ""
    spoilt_after: str = ""
    check: Callable[[tf.Tensor], tf.Tensor] | None = None
    unless: str = ""

    @property
    def candidate(self) -> str:
        """What is looked at as a whole."""
        # As little as there is before it: of two numbers with a sign between them each is looked at.
        before = f"(?:{self.spoilt_before})*?" if self.spoilt_before else ""
        after = f"(?:{self.spoilt_after})*" if self.spoilt_after else ""
        return f"(?:{self.before}){before}(?:{self.pattern}){after}"


# Addresses.

# Letters of alphabets that write blanks between words: others may stand right beside an address.
_LETTER, _HAN = r"0-9A-Za-z_\x{00C0}-\x{1FFF}", r"[\x{4E00}-\x{9FFF}]"
_LOCAL = rf"[{_LETTER}](?:[{_LETTER}.!#$%&'*+^~-]*[{_LETTER}+-])?|\"[^\"@<>]{{1,40}}\"|{_HAN}{{1,4}}"
_LABEL = rf"(?:[{_LETTER}][{_LETTER}-]*|{_HAN}{{1,8}})"
_TOP = r"(?:xn--[a-z0-9-]+|[A-Za-z\x{00C0}-\x{1FFF}]{2,24}|中国|中國|公司|网络|網絡|在线|香港|台湾|台灣)"
_AT = r"(?:@|%40| ?[\[({<] ?(?:at|@|ät|arobase|arroba|AT) ?[\])}>] ?)"
_DOT = r"(?:\.| ?[\[({<] ?(?:dot|punkt|point|DOT|\.) ?[\])}>] ?)"
# Spelled out without brackets, as "ann at example dot com".
_SPELLED_DOT = "(?i: (?:dot|punkt|point) )"
_SPELLED = (
    rf"(?:{_LOCAL})(?i: (?:at|ät|arobase) )(?:{_LABEL}{_SPELLED_DOT})+"
    r"(?i:com|org|net|edu|gov|info|io|eu|de|fr|cn|uk|ch|at|be|nl|it|es|ca)\b"
)
_EMAIL = rf"(?:{_LOCAL}){_AT}(?:(?:{_LABEL}{_DOT})+{_TOP}|\[\d+(?:\.\d+){{3}}\])|{_SPELLED}"
# Files and packages, and what Git and systemd write.
_NO_EMAIL = (
    r"(?i)(?:.*@.*\.(?:png|jpe?g|gif|svg|webp|bmp|ico|tiff?|m?js|jsx|tsx?|s?css|json|ya?ml|toml|xml"
    r"|html?|txt|pdf"
    r"|docx?|xlsx?|csv|tgz|gz|whl|jar|dll|exe|cfg|ini|log|conf|service|socket|timer|target|mp[34]|wav|zip)"
    r"|git@.*|.*\.git@.*|.*:[\w~][\w.~/-]*/[\w.-]*)"
)
# A mark of punctuation at the end of an address is that of the sentence.
_IN_URL, _END_OF_URL = r"[\w.~:/?#@!$&'*+,;=%-]", r"[\w/~#&=%+-]"
_SURE_SECRET = (
    r"(?:[\w.-]*(?:passwor[dt]|kennwort|mot_?de_?passe|mdp|contrase[nñ]a|jeton|passwd|passphrase|passcode|pwd|secret|token|credentials?|api[_.-]?key"
    r"|access[_.-]?key"
    r"|private[_.-]?key|secret[_.-]?key|auth[_.-]?key|signature|session[_.-]?id|sessid|jwt|authorization)"
    r"|(?:[\w.-]*[_.-])?(?:pass|otp|bearer|sso))"
)
_LIKELY_SECRET = r"(?:[\w.-]*[_.-])?(?:code|key|auth|sid|sig|session|ticket|hash|sign)"
_VALUE = rf"{_IN_URL}*{_END_OF_URL}"
# Eight characters or so, a digit among them.
_LIKELY_VALUE = r"(?:[\w.~%/+-]{0,3}\d[\w.~%/+-]{7,}|[\w.~%/+-]{4,}\d[\w.~%/+-]{3,}|[\w.~%/+-]{7,}\d)"
_SECRET = rf"(?:{_SURE_SECRET}=[^\s&;#,=](?:{_VALUE})?|{_LIKELY_SECRET}={_LIKELY_VALUE}(?:{_VALUE})?)"
_WITH_SECRET = rf"{_IN_URL}*[?&#;]{_SECRET}"
_START_OF_URL = (
    r"(?:[a-z][a-z0-9+.-]{1,20}://|(?:[a-z0-9-]+\.)+[a-z]{2,24}(?::\d+)?[/?#]|localhost(?::\d+)?[/?#]|/|\?)"
)
_SECRET_URL = (
    rf"(?i:[a-z][a-z0-9+.-]{{1,20}}://[\w.~!$&'*+,;=%-]*:[\w.~!$&'*+,;=:%?#-]+@{_IN_URL}*{_END_OF_URL}"
    rf"|[a-z][a-z0-9+.-]{{1,20}}://[\w-]{{20,}}@{_IN_URL}*{_END_OF_URL}"
    rf"|{_START_OF_URL}{_WITH_SECRET})"
)
_SWITCH = r"(?i)[\w.-]+=(?:true|false|yes|no|none|null|on|off|[01])(?:$|[&;#])"


def _has_secret(urls: tf.Tensor) -> tf.Tensor:
    """Returns whether URLs (M,) hold a secret besides switches such as ?show_password=true."""
    return tf.strings.regex_full_match(tf.strings.regex_replace(urls, _SWITCH, ""), _SECRET_URL)


# As gitleaks and detect-secrets know them: AWS, GitHub, GitLab, Slack, Stripe, Google, OpenAI, npm, Hugging
# Face, SendGrid, PyPI, JSON Web Tokens, keys in PEM.
_KEY = (
    r"\b(?:(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|AROA|APKA|ASCA)[A-Z0-9]{16}\b"
    r"|gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}|gl(?:pat|ptt|rt)-[\w-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|AIza[\w-]{35}|ya29\.[\w-]{20,}"
    r"|sk-(?:[a-z]+-)?[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|hf_[A-Za-z0-9]{30,}|pypi-[\w-]{50,}"
    r"|dop_v1_[a-f0-9]{64}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}|eyJ[\w-]{5,}\.eyJ[\w-]{5,}(?:\.[\w-]*)?"
    r"|eyJ[\w-]{10,}\.[\w-]*\.[\w-]+\.[\w-]+\.[\w-]+)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"
)
_NAMED_KEY = r"(?i:(?:secret|aws)[\w .-]{0,24}key(?:[_ ]id)?[\"' ]{0,2}[ :=]{1,3}[\"']?)"

# Machines.

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_LARGE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]\d)"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
# Four single digits are a section of a document or a version, unless a word says otherwise.
_LARGE_IPV4 = (
    "(?:"
    + "|".join(r"\.".join(_LARGE if place == at else _OCTET for place in range(4)) for at in range(4))
    + ")"
)
_HOST = (
    r"(?i:(?:ip(?:v[46])?|inet6?|addr(?:ess)?e?|adresse|host(?:name)?|server|serveur|gateway|router"
    r"|routeur|dns"
    r"|nameserver|ping|client|node|from|src|dst|source|peer|remote|proxy|ssh|curl|traceroute|地址|网关|服务器|主机|解析)"
    r"(?:[-_ ]?(?:ip(?:v[46])?|addr(?:ess)?e?|adresse|地址))?(?: is| ist| est| lautet|是|为|到)?"
    r"[-_ :=@\[(]{0,3})"
)
_VERSION = (
    r"(?i:(?:§§?|\b(?:v|ver|version|vers\.|release|rel|build|firmware|section|sections|sec|sect|chapter"
    r"|chap|clause|article|art"
    r"|abschnitt|abschn|kapitel|kap|ziffer|ziff|nummer|punkt|absatz|anhang|tabelle|tab|abbildung|abb"
    r"|figure|fig|table"
    r"|chapitre|rubrique|paragraphe|alin[ée]a|annexe|tableau|appendix|annex|item|point|step|oid"
    r"|driver|treiber"
    r"|update|patch|rev|revision|libr?\w*)|版本号?|版|章|节|第|条|条款|图|表|附录|固件|驱动|更新)"
    r"(?:[ .-]{0,2}(?:nr|no|n°|nummer|number)\b)?[ .:=#-]{0,2})"
)
_GROUP = "[0-9A-Fa-f]{1,4}"
_LABELLED = r"(?:\w*[G-Zg-z_]\w*[:=]\[?)?"


def _ipv6_pattern() -> str:
    """The forms of RFC 4291, section 2.2: whole, or with one run of zeros left out.

    The short ones begin as addresses that have been assigned do, or have four groups: code has `a::b`.
    """
    group, forms = _GROUP, []
    forms += [f"(?:{group}:){{7}}{group}", f"(?:{group}:){{6}}{_IPV4}"]
    for first in (
        "[23][0-9A-Fa-f]{3}",
        "[Ff][CDcd][0-9A-Fa-f]{2}",
        "[Ff][Ee][89ABab][0-9A-Fa-f]",
        "[Ff]{2}[0-9A-Fa-f]{2}",
        "64:[Ff]{2}9[Bb]",
    ):
        forms += [
            f"{first}(?::{group}){{0,{before}}}::(?:(?:{group}:){{0,{5 - before}}}(?:{group}|{_IPV4}))?"
            for before in range(6)
        ]
    forms += [
        f"(?:{group}:){{{before}}}:(?:{group}:){{{max(0, 3 - before)},{5 - before}}}{group}"
        for before in range(1, 6)
    ]
    forms += ["::1", f"::(?:[Ff]{{4}}:(?:0:)?)?{_IPV4}"]
    return f"(?:{'|'.join(forms)})(?:%[0-9A-Za-z]+)?"


_PAIR = "[0-9A-Fa-f]{2}"
_MAC = (
    rf"{_PAIR}(?::{_PAIR}){{5}}(?::{_PAIR}:{_PAIR})?"
    rf"|{_PAIR}(?:{DASH}{_PAIR}){{5}}(?:{DASH}{_PAIR}{DASH}{_PAIR})?"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}"
)

# Numbers of people and accounts.

_SIGN = rf"(?: ?{DASH} ?|[ ./·_])"


def _iban_pattern() -> str:
    between = rf"(?:{DASH}|[ .])?"
    forms = [
        rf"(?:{'|'.join(countries.split())}){between}\d{between}\d(?:{between}[A-Z0-9]){{{length - 4}}}"
        for length, countries in IBAN_LENGTHS.items()
    ]
    return rf"(?i:{'|'.join(forms)})"


_RESIDENT_ID = (
    rf"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])(?:{_SIGN}?\d){{4}}{_SIGN}?(?:18|19|20)"
    rf"(?:{_SIGN}?\d){{9}}{_SIGN}?[\dXx]"
)
_SSN_AREA = r"(?:00[1-9]|0[1-9]\d|[1-57-8]\d{2}|6(?:[0-5]\d|6[0-57-9]|[7-9]\d))"
_SSN_REST = r"(?:{0}(?:0[1-9]|[1-9]\d){0}(?:000[1-9]|00[1-9]\d|0[1-9]\d{{2}}|[1-9]\d{{3}}))"
_SSN = (
    "|".join(_SSN_AREA + _SSN_REST.format(sign) for sign in (DASH, " ", r"\."))
    + rf"|9\d{{2}}{DASH}(?:[57]\d|6[0-5]|8[0-8]|9[0-24-9]){DASH}\d{{4}}"
)
# QQ and ZZ, and the suffix T, are those of examples.
_NINO_START = r"(?:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]|QQ|ZZ)"
_NINO_SIGN = rf"(?:{DASH}|[ .])?"
_NINO = (
    rf"{_NINO_START}{_NINO_SIGN}\d{{2}}{_NINO_SIGN}\d{{2}}{_NINO_SIGN}\d{{2}}{_NINO_SIGN}[A-DT]"
    rf"|(?i:{_NINO_START}\d{{6}}[A-DT])"
)
_NIR = (
    rf"[1-378](?:{_SIGN}?\d){{2}}{_SIGN}?(?:0[1-9]|1[0-2]|[2-4]\d)(?:{_SIGN}?\d{_SIGN}?[\dABab])"
    rf"(?:{_SIGN}?\d){{8}}"
)
_GERMAN_TAX = rf"[1-9]\d{_SIGN}?\d{{3}}{_SIGN}?\d{{3}}{_SIGN}?\d{{3}}"
_GERMAN_SOCIAL = (
    rf"\d{{2}}{_SIGN}?(?:0[1-9]|[12]\d|3[01]){_SIGN}?(?:0[1-9]"
    rf"|1[0-2]){_SIGN}?\d{{2}}{_SIGN}?[A-Za-z]{_SIGN}?\d{{3}}"
)
_SAID_ID = (
    r"(?i:(?:\b(?:ssn|social security(?: number)?|passport|reisepass|personalausweis|ausweis"
    r"|passeport|carte d'identit[ée]"
    r"|driver'?s licen[cs]e|id card|identity card)|身份证|护照|社保号?)(?:"
    + DASH
    + r"?(?:nummer|nr\.?|no\.?|number)|号码?)?"
    r"(?: ?(?:number|no\.?|nr\.?|nummer|n°|num[ée]ro)| is| ist| lautet| est|是|为|:){0,3}[ .:#=\"']{0,3})"
)
_SAID_ID_NUMBER = (
    r"\d{15}|\d{9}|[A-Z]{1,2}\d{7,8}|[CFGHJKLMNPRTVWXYZ][0-9CFGHJKLMNPRTVWXYZ]{8}\d?|\d{2}[A-Z]{2}\d{5}"
)
_CARD = r"(?:4\d{3}|5[0-8]\d{2}|2[2-7]\d{2}|3[04-9]\d{2}|6\d{3}|0604|1800|2131|8[12]\d{2})"
_CARDS = (
    rf"{_CARD}(?:{_SIGN}\d{{4}}){{2}}{_SIGN}\d{{1,4}}|{_CARD}{_SIGN}\d{{6}}{_SIGN}\d{{4,5}}"
    rf"|{_CARD}\d{{4}}{_SIGN}\d{{8}}"
)
_LONG_CARDS = (
    rf"{_CARD}(?:{_SIGN}\d{{4}}){{3}}{_SIGN}\d{{1,3}}|{_CARD}\d{{2}}{_SIGN}\d{{8,13}}"
    rf"|{_CARD}{_SIGN}\d{{8,12}}"
)


def _number(
    mark: str, pattern: str, check=None, *, before: str = "", other_words: str = "", **overrides: str
) -> Kind:
    """A number of which digits before and after it, or of its decimals, make another one."""
    edges = {"spoilt_before": rf"{other_words}\d|\d\.", "spoilt_after": r"\d|\.\d"} | overrides
    return Kind(mark, pattern, before, check=check, **edges)


_OTHERWISE = f"{telephones.SAYS_OTHERWISE}|"
# In this order: what was replaced is not looked at again.
_URLS = (Kind("[URL]", _SECRET_URL, check=_has_secret),)
_ADDRESSES = (
    Kind("[EMAIL]", _EMAIL, spoilt_after=r":[\w~][\w.~-]*/[\w./-]*", unless=_NO_EMAIL),
    Kind("[KEY]", _KEY),
    Kind("[KEY]", r"[A-Za-z0-9/+]{40}", _NAMED_KEY, spoilt_after=r"[A-Za-z0-9/+]"),
)
_NUMBERS = (
    Kind(
        "[MAC]",
        _MAC,
        r"(?:\w*[G-Zg-z_]\w*[:=_-])?",
        spoilt_before=rf"{_PAIR}[:.]|{_PAIR}{DASH}|[0-9A-Za-z]",
        spoilt_after=rf"[:.]{_PAIR}|{DASH}{_PAIR}|[0-9A-Za-z]",
        unless=r"\d{4}\.\d{4}\.\d{4}",
    ),
    Kind(
        "[IP]",
        _ipv6_pattern(),
        _LABELLED,
        r"[0-9A-Fa-f]{1,4}:|[\])\w]\[|\w",
        r"[\w:]|\.\d",
        unless=r"(?:\d{1,2}:)+\d{1,2}",
    ),
    Kind("[IBAN]", _iban_pattern(), spoilt_before=r"\d", spoilt_after=r"[0-9A-Za-z]", check=checksums.iban),
    _number("[ID]", _RESIDENT_ID, checksums.resident_id, spoilt_after=r"[0-9A-Za-z]|\.\d"),
    _number("[ID]", _NIR, checksums.french_social_security),
    _number("[CARD]", _LONG_CARDS, checksums.card),
    _number("[CARD]", _CARDS, checksums.card),
    _number("[CARD]", rf"{_CARD}\d{{8,15}}", checksums.card),
    _number("[ID]", _SSN, spoilt_before=rf"\d|\d\.|\d{DASH}", spoilt_after=rf"\d|\.\d|{DASH}\d"),
    Kind("[ID]", _NINO, spoilt_before=r"[0-9A-Za-z]", spoilt_after=r"[0-9A-Za-z]"),
    _number("[ID]", _GERMAN_SOCIAL, checksums.german_social_security, spoilt_after=r"\d|\.\d"),
    _number("[ID]", _GERMAN_TAX, checksums.german_tax_id),
    Kind("[ID]", _SAID_ID_NUMBER, _SAID_ID, spoilt_after="[0-9A-Za-z]"),
    Kind("[IP]", _IPV4, _HOST, r"\d", r"\d|\.\w|[-_]?[A-Za-z]"),
    Kind("[IP]", _LARGE_IPV4, "", rf"{_VERSION}|[A-Za-z_][-_/]?|\d\.|\d", r"\d|\.\w|[-_]?[A-Za-z]"),
    _number("[PHONE]", telephones.ABROAD, telephones.abroad),
    _number("[PHONE]", telephones.ABROAD_SHORT, telephones.abroad),
    # Not a number of pi.
    _number(
        "[PHONE]",
        telephones.CHINESE_MOBILE,
        other_words=rf"{_OTHERWISE}\+|",
        spoilt_after=rf"\d|\.\d|{telephones.UNIT}",
        unless="14159265359",
    ),
    *(
        _number(
            "[PHONE]",
            pattern,
            telephones.telephone,
            spoilt_before=rf"{_OTHERWISE}\d\.|\d{DASH}|\d|\+",
            spoilt_after=rf"\d|\.\d|{DASH}\d{{1,3}}(?:[^\d.]|$)| \d\d\b|/\d\d(?:[^\d.]|$)",
            unless="[01 .-]+",
        )
        for pattern in telephones.NATIONAL
    ),
    _number("[PHONE]", telephones.SAID, telephones.said_telephone, before=telephones.SAYS_SO),
)
# Where they can be: numbers have a digit or two colons, and words beside them say what they are.
_NEAR = r"\D{0,32}"
KINDS_BY_REGION = {
    r"[!-~]*[=@][!-~]*": _URLS,
    r"(?s:.+)": _ADDRESSES,
    rf"{_NEAR}(?:\d|:[0-9A-Fa-f:])(?:{_NEAR}\d)*\D{{0,12}}": _NUMBERS,
}
MARKS = tuple(dict.fromkeys(kind.mark for kinds in KINDS_BY_REGION.values() for kind in kinds))
