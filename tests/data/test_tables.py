"""Tables as people save them: separators, quotes, encodings; names, groups and near copies in them."""

import numpy as np
import pytest
from loading import load_documents, load_images

from xmodal.core.errors import UserError
from xmodal.data.near_duplicates import near_duplicates
from xmodal.data.similar_names import plain_name
from xmodal.data.table_format import TableFormat
from xmodal.data.tables import read_rows

READING = TableFormat("utf-8", None, "text", "label", "split")


def rows(tmp_path, content, kind="csv", **changes):
    path = tmp_path / f"table.{kind}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table_format = TableFormat(**{**READING.__dict__, **changes})
    found, warnings = read_rows(kind, path, table_format)
    return [(row.line, row.cells["text"], row.cells["label"]) for row in found], warnings


def load(tmp_path, content, kind="csv", **options):
    path = tmp_path / f"table.{kind}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_documents(f"{kind}:{path}", cache=tmp_path, **{"min_per_class": 1, **options})


# Quotes.


def test_a_quote_in_a_tsv_swallows_nothing(tmp_path):
    lines = [f'"so it begins {n}\ta' if n % 4 == 0 else f'it says "no" {n}\tb' for n in range(40)]
    found, warnings = rows(tmp_path, "text\tlabel\n" + "\n".join(lines) + "\n", "tsv")
    assert [line for line, _, _ in found] == list(range(2, 42))
    assert found[0][1] == '"so it begins 0'
    assert warnings == ()


def test_texts_of_a_tsv_in_quotes_are_told_and_read_when_asked(tmp_path):
    content = 'text\tlabel\n"he said ""no"""\ta\nplain\tb\n'
    found, (warning,) = rows(tmp_path, content, "tsv")
    assert found[0][1] == '"he said ""no"""'
    assert "`quoting`" in warning
    assert "1, in line 2" in warning
    found, warnings = rows(tmp_path, content, "tsv", quoting=True)
    assert found[0][1] == 'he said "no"'
    assert warnings == ()


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_field_over_several_lines_is_told(tmp_path, kind):
    sign = {"csv": ",", "tsv": "\t"}[kind]
    content = f'text{sign}label\n"first\nsecond\nthird"{sign}a\nplain{sign}b\n'
    found, (warning,) = rows(tmp_path, content, kind, quoting=True)
    assert [row[0] for row in found] == [4, 5]
    assert "lines 2 to 4" in warning


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('text,label\nfine,a\n"never closed,b\nmore,a\nmore,b\n', 3),
        ('text,label\nfine,a\nfine,b\nfine,a\n"a" b,c\n', 5),
        ('text,label\n\n\n"open,b\nx,y\n', 2),
    ],
)
def test_what_is_not_well_formed_names_its_line(tmp_path, content, line):
    with pytest.raises(UserError, match=f"line {line} of "):
        rows(tmp_path, content)


# Separators and headings.


@pytest.mark.parametrize("sign", [";", "\t", "|", ","])
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_the_separator_is_recognised(tmp_path, sign, kind):
    content = f"id{sign}Text{sign} LABEL \n1{sign}one{sign}a\n2{sign}two{sign}b\n"
    assert rows(tmp_path, content, kind)[0] == [(2, "one", "a"), (3, "two", "b")]


def test_a_separator_that_was_given_is_taken(tmp_path):
    assert rows(tmp_path, "text~label\none~a\n", separator="~")[0] == [(2, "one", "a")]
    assert rows(tmp_path, "text\tlabel\none\ta\n", separator="tab")[0] == [(2, "one", "a")]
    with pytest.raises(UserError, match="'text;label'"):
        rows(tmp_path, "text;label\none;a\n", separator=",")


def test_a_column_is_not_taken_for_another_one_in_capitals(tmp_path):
    assert rows(tmp_path, "TEXT,text,label\nno,yes,a\n")[0] == [(2, "yes", "a")]


def test_soft_labels_in_capitals(tmp_path):
    data = load(
        tmp_path, "Text;Label:yes;Label:no\n" + "".join(f"t {n};{n % 2};{1 - n % 2}\n" for n in range(20))
    )
    assert data.class_names == ("no", "yes")


def test_the_columns_found_are_listed_but_not_all_of_hundreds(tmp_path):
    with pytest.raises(UserError, match=r"no column 'text' among 'title', 'body'"):
        rows(tmp_path, "title,body\na,b\n")
    with pytest.raises(UserError) as raised:
        rows(tmp_path, ",".join(f"column_{n}" for n in range(4000)) + "\n")
    assert len(str(raised.value)) < 500


# Encodings.


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("order", ["-le", "-be"])
def test_utf_16_needs_its_mark(tmp_path, encoding, order):
    content = "text,label\n" + "".join(f"w\xf6rd {n},{'ab'[n % 2]}\n" for n in range(20))
    with pytest.raises(UserError, match=f"no byte order mark.*`encoding={encoding}-le"):
        load(tmp_path, content.encode(encoding + order), encoding=encoding)
    assert len(load(tmp_path, content.encode(encoding + order), encoding=encoding + order).train) > 10
    assert len(load(tmp_path, content.encode(encoding), encoding=encoding).train) > 10


def test_utf_16_files_need_their_marks(tmp_path):
    for n in range(6):
        path = tmp_path / "d" / "ab"[n % 2] / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"w\xf6rd {n}".encode("utf-16-be"))
    with pytest.raises(UserError, match="byte order mark"):
        load_documents(f"dir:{tmp_path / 'd'}", cache=tmp_path, encoding="utf-16")


@pytest.mark.parametrize("encoding", ["", " ", "utf-99", "base64", "rot13", "utf\0", "undefined"])
def test_what_is_no_encoding_is_refused(tmp_path, encoding):
    with pytest.raises(UserError, match="`encoding="):
        load(tmp_path, "text,label\na,b\n", encoding=encoding)


# Names.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Spam", "SPAM"),
        ("caf\xe9", "cafe\u0301"),
        ("1", "1.0"),
        ("01", "1"),
        ("-0", "0"),
        ("a b", "a_b "),
        ("\uff21", "a"),
    ],
)
def test_names_that_look_alike(one, other):
    assert plain_name(one) == plain_name(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "2"), ("a", "\xe4"), ("1.5", "15"), ("c", "c++"), ("no", "n o")]
)
def test_names_that_do_not(one, other):
    assert plain_name(one) != plain_name(other)


def test_look_alikes_are_told_and_merged(tmp_path):
    names = ["spam", "Spam", "SPAM ", "ham"]
    content = "text,label\n" + "".join(f"text {n},{names[n % 4]}\n" for n in range(80))
    data = load(tmp_path, content)
    assert len(data.class_names) == 4 or "SPAM" in data.class_names
    assert any("look alike" in line and "`merge_names`" in line for line in data.report.warnings)
    merged = load(tmp_path, content, merge_names=True)
    assert sorted(name.casefold() for name in merged.class_names) == ["ham", "spam"]


def test_folders_of_images_that_look_alike(tmp_path):
    import tensorflow as tf

    for place in range(24):
        path = tmp_path / "p" / ("Cat", "cat", "dog")[place % 3] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(place).integers(0, 255, (8, 8, 3), np.uint8)
        path.write_bytes(tf.io.encode_png(pixels).numpy())
    data = load_images(f"folder:{tmp_path / 'p'}", cache=tmp_path, merge_names=True, min_per_class=1)
    assert data.class_names == ("Cat", "dog")


def test_a_class_of_missing_values_is_told(tmp_path):
    data = load(
        tmp_path, "text,label\n" + "".join(f"text {n},{('a', 'nan', 'b')[n % 3]}\n" for n in range(30))
    )
    assert any("missing values" in line and "'nan'" in line for line in data.report.warnings)


# Groups.


def ids_by_split(data):
    return {split: set(getattr(data, split).texts) for split in ("train", "validation", "test")}


def test_equal_documents_come_into_one_split(tmp_path):
    content = "text,label\n" + "".join(
        f"Text {n // 3}{'!' * (n % 1)},{'ab'[n // 3 % 2]}\n" for n in range(180)
    )
    content += "".join(f"<b>text</b>   {n},{'ab'[n % 2]}\n" for n in range(60))
    data = load(tmp_path, content)
    assert not data.report.leaked
    assert not any("also in" in line for line in data.report.warnings)
    assert 30 <= len(data.test) <= 60


def test_groups_of_a_column_are_not_cut(tmp_path):
    content = "Author,text,label\n" + "".join(
        f"author {n // 7},text number {n},{'ab'[n % 2]}\n" for n in range(280)
    )
    data = load(tmp_path, content, group_column="author")
    authors = [{int(text.rsplit(" ", 1)[1]) // 7 for text in texts} for texts in ids_by_split(data).values()]
    assert all(authors)
    assert not authors[0] & authors[1] | authors[0] & authors[2] | authors[1] & authors[2]
    with pytest.raises(UserError, match="no column 'writer'"):
        load(tmp_path, content, group_column="writer")


def test_without_groups_a_cut_is_as_it_was(tmp_path):
    data = load(tmp_path, "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(50)))
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 10)


# What cleaning leaves.


def test_what_cleaning_makes_equal_is_found(tmp_path):
    body = [
        ("One <b>more</b> day", "train"),
        ("one more\u200b day", "test"),
        ("<br/>", "train"),
        ("\u200b", "test"),
        ("?!", "train"),
    ]
    body += [(f"text {n}", "train" if n % 2 else "test") for n in range(20)]
    content = "text,label,split\n" + "".join(
        f"{text},{'ab'[n // 2 % 2]},{split}\n" for n, (text, split) in enumerate(body)
    )
    report = load(tmp_path, content).report
    assert report.leaked == (("table.csv:2", "table.csv:3"),)
    assert [name for name, _ in report.dropped] == ["table.csv:4", "table.csv:5"]
    assert any("without a word: 1, such as 'table.csv:6'" in line for line in report.warnings)


WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "nine",
    "cats",
    "watch",
    "from",
    "the",
    "old",
    "stone",
    "wall",
    "near",
    "town",
]


def test_near_duplicates():
    base = " ".join(WORDS * 3)
    chinese = "今天天气很好我们一起去公园散步吧小明"
    texts = [
        base + " alpha beta gamma",
        base + " one",
        " ".join(reversed(WORDS)) * 3,
        chinese * 2,
        chinese * 2 + "\u554a",
        "a b",
        "a b",
    ]
    splits = ["train", "test", "test", "train", "validation", "train", "test"]
    assert near_duplicates(texts, splits) == [(0, 1), (3, 4)]


def test_near_duplicates_of_splits_are_told(tmp_path):
    bodies = [" ".join(np.random.default_rng(n).permutation(WORDS * 3)) for n in range(10)]
    content = "text,label,split\n" + "".join(
        f"{bodies[n // 2]} {n},{'ab'[n // 2 % 2]},{('train', 'test')[n % 2]}\n" for n in range(20)
    )
    warnings = load(tmp_path, content).report.warnings
    assert any(
        "nearly the same" in line and ": 10, 'table.csv:2' ~ 'table.csv:3'" in line for line in warnings
    )


def test_tables_of_images_as_windows_programs_write_them(tmp_path):
    import tensorflow as tf

    lines = ["Image;LABEL"]
    for n in range(12):
        path = tmp_path / "photos" / f"{n}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 255, (8, 8, 3), np.uint8)
        path.write_bytes(tf.io.encode_png(pixels).numpy())
        lines.append(f"photos\\{n}.png;{'ab'[n % 2]}")
    (tmp_path / "images.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    data = load_images(f"csv:{tmp_path / 'images.csv'}", cache=tmp_path, min_per_class=1)
    assert len(data.train) + len(data.validation) + len(data.test) == 12
    assert not data.report.dropped
