"""How much personal data scrubbing finds, and how much else it takes for that, on documents made by faker.

What stands where is known, in English and in Chinese; between it stand numbers and names that look alike
and are none: dates, prices, versions, orders, ISBNs, card numbers with a wrong checksum, plain URLs.
Beside these stand lines in four languages that were written by hand, with separators of every kind.
"""

import difflib
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.text.cleaning import prepare_texts
from xmodal.text.personal_data import MARKS

# Of a drawn date: up to now, as Faker has it, would be another one in each second.
LATEST = datetime(2026, 1, 1)
LANGUAGES = ("en", "zh")
DOCUMENTS = 2000
WORDS = 200
_IBAN_LOCALES = ("en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "tr_TR")
_FRAMES = {
    "en": (" Please use {} for this.", " ({})", " It is {}, as agreed.", ' He wrote "{}" twice.', " No: {}."),
    "zh": ("联系方式是{}，请保密。", "（{}）", "请使用 {} 办理。", "其中“{}”已经登记。", "编号：{}；"),  # noqa: RUF001
}


_WRITTEN = re.compile(r"\{\{([A-Z]+):(.*?)\}\}")


@dataclass(frozen=True)
class KnownDocument:
    """A document, and the same with marks in the place of its personal data.

    Attributes:
        text: as it is read.
        expected: as it is to be after scrubbing.
        language: "en" or "zh"; of written lines "de" or "fr" too.
    """

    text: str
    expected: str
    language: str


def make_documents(count: int, seed: int) -> list[KnownDocument]:
    """Makes documents of about 200 words with 3 to 6 pieces of personal data, half of them Chinese.

    Args:
        count: how many.
        seed: of all that is random.

    Raises:
        UserError: when faker is not installed.
    """
    try:
        import faker
    except ImportError as error:
        remedy = "pip install -c constraints.txt -e '.[bench]'"
        raise UserError(f"this benchmark needs the package faker ({error})", remedy) from error
    locales = ("en_US", "en_GB", "zh_CN", *_IBAN_LOCALES)
    fakes = {locale: faker.Faker(locale, use_weighting=False) for locale in dict.fromkeys(locales)}
    for fake in fakes.values():
        fake.seed_instance(seed)
    rng = random.Random(seed)
    return [_document(fakes, rng, LANGUAGES[number % 2]) for number in range(count)]


@cache
def read_written_lines() -> tuple[KnownDocument, ...]:
    """Returns the lines that were written by hand: half of them hold personal data, half what looks like it.

    A file a language; personal data stands in it as {{MARK:text}}.
    """
    return tuple(
        KnownDocument(_WRITTEN.sub(r"\2", line), _WRITTEN.sub(r"[\1]", line), path.stem)
        for path in sorted((Path(__file__).parent / "scrub_lines").glob("*.txt"))
        for line in path.read_text(encoding="utf-8").splitlines()
    )


def measure(settings: Config, clock: Clock) -> dict[str, float | int]:
    """Scrubs 2,000 documents; see `scrub_figures`.

    Args:
        settings: give the seed.
        clock: times the benchmark.
    """
    with clock.stage("scrub"):
        return scrub_figures(DOCUMENTS, settings.run.seed)


def scrub_figures(count: int, seed: int) -> dict[str, float | int]:
    """Scrubs made documents, and compares with what is known.

    A piece counts as found when its mark, and nothing else, stands in its place.

    Args:
        count: documents.
        seed: of all that is random.

    Returns:
        Documents, pieces, recall and precision by language and by mark, and documents a second.
    """
    documents = make_documents(count, seed)
    prepare_texts([document.text for document in documents[:64]])  # traces the function
    started = time.perf_counter()
    prepare_texts([document.text for document in documents])
    seconds = time.perf_counter() - started
    outcomes = outcomes_of(documents)
    figures: dict[str, float | int] = {
        "documents": count,
        "words_a_document": WORDS,
        "documents_a_second": count / seconds,
    }
    for index, names in ((0, LANGUAGES), (1, MARKS)):
        for name in names:
            figures |= _shares(name, Counter(key[2] for key in outcomes.elements() if key[index] == name))
    return figures | measure_written_lines()


def measure_written_lines() -> dict[str, float | int]:
    """Scrubs `read_written_lines`; returns lines, pieces, recall and precision of each language."""
    lines = read_written_lines()
    outcomes = outcomes_of(lines)
    figures: dict[str, float | int] = {}
    for language in dict.fromkeys(line.language for line in lines):
        name = f"written {language}"
        figures[f"{name} lines"] = sum(line.language == language for line in lines)
        figures |= _shares(name, Counter(key[2] for key in outcomes.elements() if key[0] == language))
    return figures


def outcomes_of(documents: Sequence[KnownDocument]) -> Counter[tuple[str, str, str]]:
    """Scrubs documents, and counts (language, mark, "found", "missed" or "wrong")."""
    texts, _ = prepare_texts([document.text for document in documents])
    # What cleaning alone changes is no matter of what is found.
    expected, _ = prepare_texts([document.expected for document in documents])
    outcomes: Counter[tuple[str, str, str]] = Counter()
    for document, text, expected_text in zip(documents, texts, expected, strict=True):
        for mark, outcome in compare_marks(expected_text, text):
            outcomes[document.language, mark, outcome] += 1
    return outcomes


def _shares(name: str, outcomes: Counter[str]) -> dict[str, float | int]:
    hits, misses, false_alarms = (outcomes[word] for word in ("found", "missed", "wrong"))
    return {
        f"{name} pieces": hits + misses,
        f"{name} recall": hits / max(1, hits + misses),
        f"{name} precision": hits / max(1, hits + false_alarms),
    }


def compare_marks(expected: str, text: str) -> list[tuple[str, str]]:
    """Returns (mark, "found", "missed" or "wrong") for every mark in either of two scrubbed texts."""
    parts = [_parts(expected), _parts(text)]
    outcomes = []
    matcher = difflib.SequenceMatcher(a=parts[0], b=parts[1], autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if kind == "equal":
            outcomes += [(part, "found") for part in parts[0][start:end] if part in MARKS]
        else:
            outcomes += [(part, "missed") for part in parts[0][start:end] if part in MARKS]
            outcomes += [(part, "wrong") for part in parts[1][other_start:other_end] if part in MARKS]
    return outcomes


def _parts(text: str) -> list[str]:
    marks = "|".join(map(re.escape, MARKS))
    return re.findall(rf"{marks}|\w+|\W", text)


def _document(fakes, rng: random.Random, language: str) -> KnownDocument:
    local = fakes["zh_CN"] if language == "zh" else fakes["en_US"]
    text = expected = ""
    marks = [rng.choice(MARKS) for _ in range(rng.randint(3, 6))]
    for mark in rng.sample([*marks, *[""] * 6], len(marks) + 6):
        sentence = local.sentence(nb_words=WORDS // (len(marks) + 6))
        piece = _piece(fakes, rng, language, mark) if mark else _alike(fakes, rng)
        before, after = rng.choice(_FRAMES[language]).split("{}")
        end = " " if language == "en" else ""
        # Ten digits may be anything.
        word = rng.choice(("phone ", "call ", "tel. ")) if mark == "[PHONE]" and piece.isdigit() else ""
        text += sentence + before + word + piece + after + end
        expected += sentence + before + word + (mark or piece) + after + end
    return KnownDocument(text, expected, language)


def _piece(fakes, rng: random.Random, language: str, mark: str) -> str:
    """Makes a piece of personal data in one of the forms in which people write it."""
    local = fakes["zh_CN" if language == "zh" else rng.choice(("en_US", "en_GB"))]
    match mark:
        case "[URL]":
            return _secret_url(local, rng)
        case "[EMAIL]":
            return rng.choice((local.email, local.company_email, local.ascii_free_email))()
        case "[IBAN]":
            number = fakes[rng.choice(_IBAN_LOCALES)].iban()
            return _grouped(number, (4,) * 9, " ") if rng.random() < 0.5 else number
        case "[CARD]":
            number = local.credit_card_number()
            groups = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4)}.get(len(number))
            return _grouped(number, groups, rng.choice(" -")) if groups and rng.random() < 0.5 else number
        case "[ID]":
            return local.ssn()
        case "[IP]":
            return rng.choice((local.ipv4, local.ipv6))()
        case "[MAC]":
            return local.mac_address().replace(":", rng.choice(":-"))
        case "[KEY]":
            return _key(local, rng)
        case _:
            return _telephone(local, rng, language)


def _secret_url(local, rng: random.Random) -> str:
    host = local.domain_name()
    if rng.random() < 0.4:
        return f"https://{local.user_name()}:{local.password(special_chars=False)}@{host}/{local.uri_path()}"
    key = rng.choice(("token", "api_key", "access_token", "password", "signature", "secret"))
    return f"https://{host}/{local.uri_path()}?id={rng.randint(1, 99)}&{key}={local.sha1()}"


def _key(local, rng: random.Random) -> str:
    def letters(count: int) -> str:
        return local.pystr(min_chars=count, max_chars=count)

    return rng.choice(
        (
            f"AKIA{letters(16).upper()}",
            f"ghp_{letters(36)}",
            f"eyJ{letters(33)}.eyJ{letters(60)}.{letters(43)}",
        )
    )


def _telephone(local, rng: random.Random, language: str) -> str:
    number = local.phone_number()
    if language == "en" or rng.random() < 0.3:
        return number
    grouped_number = _grouped(number, (3, 4, 4), rng.choice(" -"))
    line = f"{rng.choice(('010', '021', '0755', '0571'))}-{rng.randint(20_000_000, 89_999_999)}"
    return rng.choice((grouped_number, f"+86 {grouped_number}", f"+86{number}", line))


def _grouped(number: str, groups: tuple[int, ...], separator: str) -> str:
    parts = []
    for size in groups:
        parts.append(number[:size])
        number = number[size:]
    return separator.join(part for part in [*parts, number] if part)


def _alike(fakes, rng: random.Random) -> str:
    """Makes what looks like personal data and is none."""
    fake = fakes["en_US"]
    digits = str(rng.randrange(10**15, 10**16))
    wrong_card = (
        "4" + digits[1:15] + next(last for last in "0123456789" if not _luhn("4" + digits[1:15] + last))
    )
    return rng.choice(
        (
            lambda: fake.date(end_datetime=LATEST),
            lambda: fake.date_time(end_datetime=LATEST).strftime("%Y-%m-%d %H:%M:%S"),
            lambda: fake.date_time(end_datetime=LATEST).strftime("%d/%m/%Y, %I:%M"),
            lambda: f"${rng.randrange(10**7):,}.{rng.randrange(100):02d}",
            lambda: f"{rng.randrange(1000)}.{rng.randrange(10**6)}%",
            lambda: f"v{rng.randrange(9)}.{rng.randrange(99)}.{rng.randrange(99)}",
            lambda: f"ORD-{rng.randrange(10**7, 10**8)}",
            lambda: f"{rng.randrange(10**5, 10**6)}",
            lambda: f"{rng.randrange(1900, 2030)}-{rng.randrange(1900, 2030)}",
            lambda: fake.isbn13(),
            lambda: fake.isbn10(),
            lambda: fake.ean13(),
            lambda: wrong_card,
            lambda: fake.uuid4(),
            lambda: fake.uri(),
            lambda: f"@{fake.user_name()}",
            lambda: f"{fake.latitude()}, {fake.longitude()}",
            lambda: fake.hex_color(),
            lambda: fake.postcode(),
            lambda: f"{rng.randrange(200)}:{rng.randrange(200)}",
            lambda: fake.license_plate(),
            lambda: fake.file_path(),
            lambda: fake.name(),
        )
    )()


def _luhn(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    return sum(digits[::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0
