"""Parquet, Arrow, Excel and JSON arrays: real files, as pandas, Hugging Face and Excel write them."""

import json
import sys

import openpyxl
import pyarrow
import pytest
from pyarrow import parquet

from xmodal.core.errors import UserError
from xmodal.data.documents import load_documents
from xmodal.data.table_format import TableFormat
from xmodal.data.tables import read_rows, read_tables
from xmodal.data.typed_tables import columns_of

FORMAT = TableFormat()
TEXTS = ["wheat prices rise", "the match ends 2:1", "犬 and 猫", "rain tomorrow"]
NAMES = ["trade", "sport"]
LABELS = [0, 1, 1, 0]
FEATURES = {"info": {"features": {"label": {"names": NAMES, "_type": "ClassLabel"}, "text": {}}}}


def arrow_table(labels=LABELS, metadata=True) -> pyarrow.Table:
    table = pyarrow.table({"text": TEXTS, "label": labels})
    return table.replace_schema_metadata({"huggingface": json.dumps(FEATURES)}) if metadata else table


def save_stream(table, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def save(kind, path, labels=LABELS, metadata=True):
    table = arrow_table(labels, metadata)
    if kind == "parquet":
        parquet.write_table(table, path)
    elif kind == "arrow":
        save_stream(table, path)
    elif kind == "json":
        path.write_text(json.dumps(table.to_pylist()))
    else:
        book = openpyxl.Workbook()
        for row in [["text", "label"], *([row["text"], row["label"]] for row in table.to_pylist())]:
            book.active.append(row)
        book.save(path)


def rows_of(kind, path, **changes):
    rows, warnings = read_rows(kind, path, TableFormat(**changes))
    assert warnings == ()
    return [(row.cells["text"], row.cells["label"]) for row in rows]


@pytest.mark.parametrize("kind", ["parquet", "arrow", "json", "xlsx"])
@pytest.mark.parametrize(
    ("labels", "read"),
    [
        (["a", "b", "b", "a"], ["a", "b", "b", "a"]),
        ([3, 1, 1, 3], ["3", "1", "1", "3"]),
        # As pandas writes integers of which one is missing elsewhere.
        ([3.0, 1.0, 0.5, 3.0], ["3", "1", "0.5", "3"]),
        ([True, False, False, True], ["True", "False", "False", "True"]),
    ],
)
def test_every_kind_gives_the_same(kind, labels, read, tmp_path):
    path = tmp_path / f"table.{kind}"
    save(kind, path, labels, metadata=False)
    assert rows_of(kind, path) == list(zip(TEXTS, read, strict=True))
    assert columns_of(kind, path) == ["text", "label"]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_numbers_of_classes_become_their_names(kind, tmp_path):
    save(kind, tmp_path / f"table.{kind}")
    assert [label for _, label in rows_of(kind, tmp_path / f"table.{kind}")] == [NAMES[i] for i in LABELS]


def test_an_arrow_file_that_is_no_stream(tmp_path):
    table = arrow_table()
    path = str(tmp_path / "a.arrow")
    with pyarrow.OSFile(path, "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert [text for text, _ in rows_of("arrow", tmp_path / "a.arrow")] == TEXTS


def test_a_folder_that_datasets_has_saved(tmp_path):
    save_stream(arrow_table(), tmp_path / "news/train/data-00000-of-00002.arrow")
    save_stream(arrow_table(), tmp_path / "news/train/data-00001-of-00002.arrow")
    save_stream(arrow_table(), tmp_path / "news/test/data-00000-of-00001.arrow")
    (tmp_path / "news/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    examples = read_tables("arrow", tmp_path / "news", FORMAT).examples
    assert [example.split for example in examples] == ["test"] * 4 + ["train"] * 8
    assert {example.class_name for example in examples} == set(NAMES)
    (tmp_path / "news/train").rename(tmp_path / "news/other")
    with pytest.raises(UserError, match="holds no folder train; add it"):
        read_tables("arrow", tmp_path / "news", FORMAT)


def test_documents_of_a_parquet_file_go_through_the_audit(tmp_path):
    rows = {"text": [f"{text} {i // 4}" for i, text in enumerate(TEXTS * 10)], "label": LABELS * 10}
    table = pyarrow.table(rows).replace_schema_metadata({"huggingface": json.dumps(FEATURES)})
    parquet.write_table(table, tmp_path / "news.parquet")
    data = load_documents(f"parquet:{tmp_path / 'news.parquet'}", cache=tmp_path)
    assert sorted(data.class_names) == sorted(NAMES)
    assert len(data.train) + len(data.validation) + len(data.test) == 40
    assert data.report.counts["train"].keys() == set(NAMES)


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        ("parquet", b"no parquet", "cannot be read as Parquet ("),
        ("parquet", b"", "cannot be read as Parquet ("),
        ("arrow", b"\xff" * 64, "cannot be read as Arrow ("),
        ("xlsx", b"PK\3\4 no workbook", "cannot be read as Excel ("),
        ("json", b'{"text": "a"}', "is no JSON array of objects; write one, or an object a line"),
        ("json", b'[{"text": "a", "label": "b"}, 3]', "is no JSON array of objects"),
        ("json", b"[1, ", "cannot be read as JSON ("),
        ("json", b"[" * 100_000, "cannot be read as JSON ("),
        ("json", b'["caf\xe9"]', "is not in utf-8 (0xe9 does not fit there)"),
        ("json", b'[{"text": "a"}]', "row 1 of "),
        ("json", b'[{"text": "a", "label": null}]', "'label' is empty"),
        ("json", b'[{"text": "a", "label": NaN}]', "'label' is empty; give 'label' as a string or a number"),
        ("json", b'[{"text": 3, "label": "a"}]', "'text' is int; give 'text' as a string"),
    ],
)
def test_damage_is_one_line(kind, content, problem, tmp_path):
    path = tmp_path / f"table.{kind}"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_tables(kind, path, FORMAT)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "xlsx"])
def test_files_that_were_cut_short(kind, tmp_path):
    save(kind, tmp_path / f"table.{kind}")
    whole = (tmp_path / f"table.{kind}").read_bytes()
    for part in (0.3, 0.7, 0.95):
        (tmp_path / f"table.{kind}").write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(UserError, match="cannot be read as"):
            read_tables(kind, tmp_path / f"table.{kind}", FORMAT)


def test_excel_without_the_extra(tmp_path, monkeypatch):
    save("xlsx", tmp_path / "a.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match=r"a.xlsx' needs the package openpyxl \("):
        read_tables("xlsx", tmp_path / "a.xlsx", FORMAT)


def test_empty_cells_of_a_sheet(tmp_path):
    book = openpyxl.Workbook()
    for row in (["label", "text", None], ["a", 12, "left out"], [None, None, None], ["b", None, None]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert rows_of("xlsx", tmp_path / "a.xlsx") == [("12", "a"), ("", "b")]
