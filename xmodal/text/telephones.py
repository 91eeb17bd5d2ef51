"""What telephone numbers look like, by national plans (RE2, no lookaround), and the words beside them.

A form that people write for nothing else is taken as it is; digits that may as well be an order or a book
need a word such as "call" before them, and a word such as "invoice" before them makes any national form
another number.
"""

import tensorflow as tf

from xmodal.text.checksums import article_number, book_number, digits_of

# Hyphens of every width, and the sign for minus.
DASH = r"[-\x{2010}-\x{2015}\x{2212}]"
_BETWEEN = rf"(?: ?{DASH} ?|[ ./])"
_EXTENSION = r"(?: ?(?i:x|ext\.?|extension|app\.?|poste|\#|转|分机) ?\d{1,6})?"
# ITU-T E.164, country codes in use.
_COUNTRY = (
    r"(?:7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-689]\d|3[578]\d|42\d|50\d|59\d|6[7-9]\d"
    r"|8[0578]\d|9[679]\d)"
)
_NORTH_AMERICA = (
    rf"(?:(?:\+ ?|00)1{_BETWEEN}?\(?[2-9]\d{{2}}\)?{_BETWEEN}?\d{{3}}{_BETWEEN}?\d{{4}}"
    rf"|(?:1{_BETWEEN}?)?\([2-9]\d{{2}}\){_BETWEEN}?\d{{3}}{_BETWEEN}?\d{{4}}"
    rf"|(?:1{_BETWEEN})?[2-9]\d{{2}}(?:(?: ?{DASH} ?|/)\d{{3}}{_BETWEEN}?|\.\d{{3}}\."
    rf"| [2-9]\d{{2}}[ -])\d{{4}}"
    rf"){_EXTENSION}"
)
_AREA = r"(?:10|2\d|[3-9]\d{2})"
_CHINESE_PREFIX = rf"(?:(?:\((?:\+ ?|00)?86\)|(?:\+ ?|00)?86){_BETWEEN}?)?"
_CHINESE_LINES = (
    rf"(?:(?:\((?:\+ ?|00)86\)|(?:\+ ?|00)86){_BETWEEN}?(?:\(0?{_AREA}\)|0?{_AREA})|86{DASH}{_AREA}"
    rf"|\(0{_AREA}\)|0{_AREA}{_BETWEEN})"
    rf"{_BETWEEN}?[2-9]\d{{2,3}}{_BETWEEN}?\d{{4}}(?:{DASH}\d{{1,5}})?{_EXTENSION}"
    rf"|[48]00{_BETWEEN}(?:\d{{3}}{_BETWEEN}\d{{4}}|\d{{4}}{_BETWEEN}\d{{3}}|\d{{7}})"
    rf"|[48]00\d{_BETWEEN}\d{{3}}{_BETWEEN}\d{{3}}"
)
_S = r"[ .·]"
CHINESE_MOBILE = (
    rf"{_CHINESE_PREFIX}0?(?:1[3-9]\d{{9}}"
    rf"|1[3-9]\d(?:(?:{DASH}|{_S})\d{{4}}){{2}}|1[3-9]\d{{2}}(?:{DASH}|{_S})\d{{3}}(?:{DASH}|{_S})\d{{4}}"
    rf"|1[3-9]\d(?:{DASH}|{_S})\d{{8}}|1[3-9]\d{{5}}(?:{DASH}|{_S})\d{{4}}"
    rf"|1[3-9]\d{{2}}(?:{DASH}|{_S})\d{{4}}(?:{DASH}|{_S})\d{{3}}|1 [3-9](?: \d){{9}})"
)
# What follows an amount.
UNIT = r" ?(?:元|块钱|美元|欧元|日元|万|亿|人次|人民币|字节|吨|公里|股|票)"
# Where numbers begin with 0: Britain, France, Germany, Japan and most others.
_ZERO = rf"(?:\(0 ?[1-9]\d{{0,4}}\) ?{DASH}? ?|0[1-9]\d{{1,4}}(?: ?[/.] ?| ?{DASH} ?| ))"
_PLAIN = rf"(?:{DASH}| )"
_PAIRS = "|".join(rf"0[1-9](?:{sign}\d\d){{4}}" for sign in (" ", r"\.", DASH, "/"))
_WITH_ZERO = (
    rf"{_ZERO}\d{{2,4}}(?:{_PLAIN}\d{{2}}){{2,3}}|{_ZERO}\d{{2,4}}(?:{_PLAIN}"
    rf"|\.)\d{{3,5}}(?:{_PLAIN}\d{{1,4}})?"
    rf"|(?:\(0[1-9]\d{{1,4}}\) ?|0[1-9]\d{{1,4}} ?/ ?)\d{{3,8}}{DASH}\d{{1,4}}"
    rf"|{_ZERO}\d{{5,9}}(?:{DASH}\d{{1,4}})?"
    r"|\(0\) ?[1-9](?:[ .]\d\d){4}"
    rf"|0[1-9](?:{DASH}| |/)(?:\d{{8}}|\d{{3,4}}{_PLAIN}\d{{4}}|\d{{3}}{_PLAIN}\d{{2}}{_PLAIN}\d{{2}})"
    rf"|0 ?[89]\d{{2}} \d{{3}} \d{{3}}|0[189]\d{{2}} \d \d{{5,6}}|0[1-9]\d{{8,10}}|{_PAIRS}"
)


def _abroad(groups: int) -> str:
    return (
        rf"(?:\((?:\+ ?|00){_COUNTRY}\)|(?:\+ ?"
        rf"|00){_COUNTRY}){_BETWEEN}?(?:\(0\){_BETWEEN}?)?(?:\(\d{{1,5}}\)|\d{{1,5}})"
        rf"(?:{_BETWEEN}?\d{{2,8}}){{1,{groups}}}{_EXTENSION}"
    )


ABROAD = _abroad(4)
# What follows after a blank may be another number.
ABROAD_SHORT = _abroad(2)
NATIONAL = (_NORTH_AMERICA, _CHINESE_LINES, rf"(?:{_WITH_ZERO}){_EXTENSION}")
# After a word that says so: any digits, with what stands between them.
SAID = rf"\+? ?\d(?:(?:[ ./()]|{DASH}){{0,3}}\d){{6,14}}{_EXTENSION}"
_NUMBER_WORDS = r"(?:number|no\.?|nr\.?|nummer|num[ée]ro|n°|号码?)"
SAYS_SO = (
    r"(?i:\b(?:(?:tele)?phone|ph|tel|mobile|cell(?:phone)?|fax|call|dial|ring|text (?:me|us|him|her)"
    r"|whatsapp|hotline|sms|landline|contact"
    r"|reach|my (?:new )?number"
    r"|telefon|handy|mobil|mobiltelefon|festnetz|ruf|anruf|anrufen|rückruf|durchwahl|telefax|meine nummer"
    r"|t[ée]l[ée]phone[rz]?|t[ée]l|portable|appel|appele[rz]|appelez-(?:moi|nous)|rappele[rz]|joindre"
    r"|fixe|mon num[ée]ro)"
    r"(?:[-_]?" + _NUMBER_WORDS + r")?"
    r"(?:(?: ?[.:=]| )(?: ?(?:me|us|him|her|mich|uns|now|today|is|at|on|unter|lautet|ist|au|est|le"
    r"|the|der|die)\b| ?" + _NUMBER_WORDS + r"){0,3})?"
    r"|(?:电话|手机|座机|联系方式|热线|传真|致电|拨打|打给|来电|我的号码|微信)(?:号码|号)?(?:是|为|请打|请拨)?)"
    r"[ .:=_\"'(\[]{0,3}"
)
SAYS_OTHERWISE = (
    r"(?i:(?:\b(?:isbn|issn|ean|upc|gtin|doi|pmid|sku|imei|order|invoice|serial|part|item|ref|reference"
    r"|case|ticket"
    r"|tracking|parcel|account|customer|batch|lot|model|product|article|version|build|timestamp|patent|id"
    r"|loto|lotto|lottery|lottozahlen|gewinnzahlen|tirage"
    r"|(?:bestell|rechnungs|kunden|artikel|auftrags|serien|sendungs|vorgangs|konto|vertrags|teile"
    r"|matrikel|mitglieds"
    r"|vorgang|lose?|chargen|produkt|inventar|art\.?)"
    + DASH
    + r"?(?:nummer|nr|no)|aktenzeichen|az|hrb|rechnung|bestellung|konto"
    r"|commande|facture|matricule|r[ée]f[ée]rence|r[ée]f|client|dossier|s[ée]rie|colis|siret|siren|compte"
    r"|contrat|lot|brevet)"
    r"|订单(?:编?号码?)?|(?:货|流水|序列|运单|快递单?|工|版本|批|书|学|发票|合同编?|型|卡|账|期)号码?|代码|工单|彩票)"
    r"(?:" + DASH + r"?" + _NUMBER_WORDS + r")?[ .:#=" + r"\-]{0,3}" + _NUMBER_WORDS + r"?[ .:#=]{0,2})"
)
_DATE = (
    rf"\(?\d{{1,2}}(?:[./]|{DASH})\d{{1,2}}(?:[./]|{DASH})(?:19|20)\d\d.*|\(?(?:19|20)\d\d(?:[./]"
    rf"|{DASH})\d\d?(?:[./]|{DASH}).*"
)


def telephone(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether numbers (M,) have the digits of one (ITU-T E.164), and are no date, article or book."""
    plain = tf.strings.regex_replace(numbers, _EXTENSION + "$", "")
    _, lengths = digits_of(plain, 20)
    is_bare = tf.strings.regex_full_match(plain, r"\d+")
    is_other = is_bare & (article_number(plain) | book_number(plain))
    return (lengths >= 7) & (lengths <= 16) & ~is_other & ~tf.strings.regex_full_match(plain, _DATE)


def said_telephone(numbers: tf.Tensor) -> tf.Tensor:
    """As `telephone`, after a word that says that it is one."""
    _, lengths = digits_of(numbers, 24)
    return (lengths >= 7) & (lengths <= 17) & ~tf.strings.regex_full_match(numbers, _DATE)


def abroad(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether numbers (M,) with a country's code are as long as those of that country."""
    plain = tf.strings.regex_replace(numbers, _EXTENSION + "$", "")
    digits = tf.strings.regex_replace(tf.strings.regex_replace(plain, r"\(0\)", ""), r"\D", "")
    national = tf.strings.regex_replace(digits, "^00", "")
    is_known_form = tf.strings.regex_full_match(
        national,
        r"33[1-9]\d{8}|44[1-9]\d{8,9}|49[1-9]\d{5,12}|390?\d{6,11}|[2-9]\d{7,14}",
    )
    is_wrong_form = tf.strings.regex_full_match(
        national, r"33.{0,8}|33.{10,}|86.{0,8}|(?:[2-9]\d|[2-9]\d\d)0{4,}.*"
    )
    is_bare = tf.strings.regex_full_match(plain, r"\d+")
    return is_known_form & ~is_wrong_form & ~(is_bare & article_number(plain))
