"""What a predictor is asked, from tables and lines in any encoding."""

import io

import pytest

from xmodal.core.errors import UserError
from xmodal.data.table_format import TableFormat
from xmodal.export.asked_files import item_of_file, items_of_lines, items_of_table

ASKED = {"text": "text", "label": "", "split": ""}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_lines_keep_their_place_in_any_encoding(encoding):
    lines = io.BytesIO("one\r\n\nzwei \xfc\n".encode(encoding))
    items = list(items_of_lines(lines, TableFormat(encoding, **ASKED)))
    assert [(item.name, item.problem) for item in items] == [
        ("one", ""),
        ("", "a blank line"),
        ("zwei \xfc", ""),
    ]


def test_a_text_without_its_byte_order_mark_has_a_problem(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one".encode("utf-16-le"))
    assert item_of_file(path, TableFormat("utf-16", **ASKED)).problem == "no UTF-16 without a byte order mark"
    with pytest.raises(UserError, match="is not in utf-16"):
        list(items_of_lines(io.BytesIO(b"one"), TableFormat("utf-16", **ASKED)))


def test_tables_with_types_keep_their_other_columns(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = '{"id": 7, "Text": "one", "image": "x.png", "tags": ["a", 1]}\n{"id": 8, "text": "two"}\n'
    path.write_text(rows)
    pair, text = items_of_table(path, TableFormat(**ASKED), "image")
    assert list(pair.row.items()) == [
        ("id", "7"),
        ("text", "one"),
        ("image", "x.png"),
        ("tags", '["a", 1]'),
    ]
    assert (pair.text, pair.problem) == (b"one", "not readable: No such file or directory")
    assert (text.text, text.content, text.row["id"]) == (None, b"two", "8")
