"""Check digits of cards and identity numbers, as TensorFlow ops: strings (M,) -> bool (M,).

The tests hold them to python-stdnum, which cannot run inside a SavedModel.
"""

import tensorflow as tf

# Issuers and the lengths of their numbers: Visa, Mastercard and Mir, American Express, Diners Club, JCB,
# Discover, UnionPay, Maestro, RuPay.
_ISSUED = (
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|6\d|8\d|9\d)\d{11}(?:\d\d)?"
    r"|35\d{14,17}|(?:2131|1800)\d{11}|(?:6011|64[4-9]\d|65\d\d)\d{12,15}|62\d{14,17}"
    r"|(?:0604|50\d\d|5[6-8]\d\d|6304|6390|67\d\d)\d{8,15}|(?:60|81|82)\d{14}"
)
# Chinese provinces, a district, a day, a number in sequence.
RESIDENT_ID = (
    r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])\d{4}"
    r"(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]"
)


def luhn(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether numbers (M,), digits and separators, fulfil ISO/IEC 7812-1, annex B."""
    digits, lengths = digits_of(numbers, 20)
    from_right = lengths[:, None] - 1 - tf.range(20)[None, :]
    doubled_digits = tf.where(digits > 4, 2 * digits - 9, 2 * digits)
    values = tf.where(from_right % 2 == 1, doubled_digits, digits)
    return tf.reduce_sum(tf.where(from_right >= 0, values, 0), axis=1) % 10 == 0


def card(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether numbers (M,) are an issuer's, as long as its own, with a right check digit (Luhn)."""
    plain = tf.strings.regex_replace(numbers, r"\D", "")
    is_bare = tf.strings.regex_full_match(numbers, r"\d{13}")
    return luhn(plain) & tf.strings.regex_full_match(plain, _ISSUED) & ~(is_bare & article_number(plain))


def article_number(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether digits (M,) are a GTIN: EAN-13 or UPC-A (GS1 General Specifications, section 7.9)."""
    digits, lengths = digits_of(numbers, 14)
    from_right = lengths[:, None] - 1 - tf.range(14)[None, :]
    values = tf.where(from_right % 2 == 1, 3 * digits, digits)
    total = tf.reduce_sum(tf.where(from_right >= 0, values, 0), axis=1)
    return (total % 10 == 0) & ((lengths == 12) | (lengths == 13))


def book_number(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether ten digits (M,) are an ISBN-10 (ISO 2108:1992)."""
    digits, lengths = digits_of(numbers, 10)
    return (lengths == 10) & (tf.reduce_sum(digits * tf.range(10, 0, -1), axis=1) % 11 == 0)


def iban(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether IBANs (M,) of the right length fulfil ISO 7064, MOD 97-10."""
    plain = tf.strings.upper(tf.strings.regex_replace(numbers, r"[^0-9A-Za-z]", ""))
    rotated_ibans = tf.strings.regex_replace(plain, "^(.{4})(.*)$", r"\2\1")
    codes = tf.cast(tf.io.decode_raw(rotated_ibans, tf.uint8, fixed_length=36), tf.int32)
    # A letter stands for two digits, 10 to 35. What a character counts, modulo 97, follows from the
    # number of digits after it.
    value = tf.where(codes >= ord("A"), codes - ord("A") + 10, codes - ord("0"))
    digits = tf.where(codes > 0, tf.where(value > 9, 2, 1), 0)
    digits_after = tf.cumsum(digits, axis=1, exclusive=True, reverse=True)
    powers = tf.constant([pow(10, exponent, 97) for exponent in range(73)])
    terms = tf.where(codes > 0, value * tf.gather(powers, digits_after), 0)
    return tf.reduce_sum(terms, axis=1) % 97 == 1


def resident_id(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether Chinese resident identity numbers (M,) fulfil GB 11643, ISO 7064 MOD 11-2."""
    plain = tf.strings.regex_replace(numbers, r"[^0-9Xx]", "")
    codes = tf.cast(tf.io.decode_raw(plain, tf.uint8, fixed_length=18), tf.int32)
    is_ten = (codes == ord("X")) | (codes == ord("x"))
    weights = tf.constant([2 ** (17 - index) % 11 for index in range(18)])
    is_valid = tf.reduce_sum(tf.where(is_ten, 10, codes - ord("0")) * weights, axis=1) % 11 == 1
    return is_valid & tf.strings.regex_full_match(plain, RESIDENT_ID)


def german_tax_id(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether numbers (M,) are a Steuer-ID: ISO 7064 MOD 11,10, and one digit of ten comes again."""
    digits, lengths = digits_of(numbers, 11)
    remainder = tf.fill([tf.size(lengths)], 10)
    for index in range(10):
        total = (digits[:, index] + remainder) % 10
        remainder = tf.where(total == 0, 10, total) * 2 % 11
    digit_counts = tf.reduce_sum(tf.one_hot(digits[:, :10], 10, dtype=tf.int32), axis=1)
    has_one_repeat = tf.reduce_sum(tf.cast(digit_counts > 1, tf.int32), axis=1) == 1
    return (
        (lengths == 11)
        & ((11 - remainder) % 10 == digits[:, 10])
        & has_one_repeat
        & (tf.reduce_max(digit_counts, axis=1) < 4)
    )


def french_social_security(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether numbers (M,) are a NIR: its key is 97 less the rest of the first 13 digits by 97."""
    plain = tf.strings.regex_replace(tf.strings.upper(numbers), "[^0-9AB]", "")
    numeric_texts = tf.strings.regex_replace(tf.strings.regex_replace(plain, "2A", "19"), "2B", "18")
    digits, lengths = digits_of(numeric_texts, 15)
    powers = tf.constant([pow(10, 12 - index, 97) for index in range(13)])
    remainder = tf.reduce_sum(digits[:, :13] * powers, axis=1) % 97
    return (lengths == 15) & (97 - remainder == 10 * digits[:, 13] + digits[:, 14])


def german_social_security(numbers: tf.Tensor) -> tf.Tensor:
    """Returns whether numbers (M,), a letter in them, are a German Versicherungsnummer (VKVV, section 4)."""
    plain = tf.strings.upper(tf.strings.regex_replace(numbers, "[^0-9A-Za-z]", ""))
    codes = tf.cast(tf.io.decode_raw(plain, tf.uint8, fixed_length=12), tf.int32)
    values, letter = codes - ord("0"), codes[:, 8] - ord("A") + 1
    digits = tf.concat([values[:, :8], letter[:, None] // 10, letter[:, None] % 10, values[:, 9:11]], axis=1)
    products = digits * tf.constant([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1])
    return tf.reduce_sum(products // 10 + products % 10, axis=1) % 10 == values[:, 11]


def digits_of(numbers: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the digits (M, most), filled up by others on the right, and how many there are (M,)."""
    plain = tf.strings.regex_replace(numbers, r"\D", "")
    codes = tf.io.decode_raw(plain, tf.uint8, fixed_length=most)
    return tf.cast(codes, tf.int32) - ord("0"), tf.strings.length(plain)
