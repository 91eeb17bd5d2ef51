"""Documents with several labels each, or none: how they are read, cut and counted."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from xmodal.config.data import SplitConfig
from xmodal.core.errors import UserError
from xmodal.data.documents import load_documents
from xmodal.data.examples import Example
from xmodal.data.table_format import TableFormat

SPLIT = SplitConfig(min_per_class=1, test_fraction=0.25, validation_fraction=0.2)
LABELS = [("oil",), ("oil", "gas"), (), ("gas",), ("oil", "gold")] * 8
# In the order of the names: gas, gold, oil.
TARGETS = [[0, 0, 1], [1, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 1]]


def load(source, **table_format):
    return load_documents(source, SPLIT, table_format=TableFormat(**table_format))


def targets_by_text(data) -> dict[str, list[float]]:
    splits = (data.train, data.validation, data.test)
    return {
        text: row.tolist() for split in splits for text, row in zip(split.texts, split.targets, strict=True)
    }


def require_read(data, names=("gas", "gold", "oil")):
    assert data.class_names == names
    order = [("gas", "gold", "oil").index(name) for name in names]
    expected = {f"text {number}": [TARGETS[number % 5][place] for place in order] for number in range(40)}
    assert targets_by_text(data) == expected


def csv_with(path, heading, label_of):
    lines = [f"text {number},{label_of(labels)}\n" for number, labels in enumerate(LABELS)]
    path.write_text(f"text,{heading}\n" + "".join(lines))
    return f"csv:{path}"


@pytest.mark.parametrize("separator", ["|", "; ", "+"])
def test_labels_between_a_separator(tmp_path, separator):
    source = csv_with(tmp_path / "a.csv", "label", separator.join)
    data = load(source, several=separator)
    require_read(data)
    counts = data.report.counts
    assert {name: sum(counts[split][name] for split in counts) for name in data.class_names} == {
        "gas": 16,
        "gold": 8,
        "oil": 24,
    }
    # The rarest label decides how splits are cut: each has some of it.
    assert all(counts[split]["gold"] for split in counts)


def test_labels_in_lists_of_json(tmp_path):
    rows = [{"text": f"text {number}", "label": [*labels]} for number, labels in enumerate(LABELS)]
    rows[2]["label"] = None
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    require_read(load(f"jsonl:{path}", several="|"))


def test_lists_of_class_numbers_as_hugging_face_keeps_them(tmp_path):
    names = ["oil", "gas", "gold"]
    rows = {
        "text": [f"text {number}" for number in range(40)],
        "label": [[names.index(name) for name in labels] for labels in LABELS],
    }
    labels = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
    features = {"info": {"features": {"text": {"dtype": "string", "_type": "Value"}, "label": labels}}}
    table = pyarrow.table(rows).replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, tmp_path / "a.parquet")
    require_read(load(f"parquet:{tmp_path / 'a.parquet'}", several="|"))


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False"), ("1", "")])
def test_labels_in_columns(tmp_path, yes, no):
    source = csv_with(
        tmp_path / "a.csv",
        "oil,gold,gas",
        lambda labels: ",".join(yes if name in labels else no for name in ("oil", "gold", "gas")),
    )
    require_read(load(source, several="columns", label="oil,gas,gold"), names=("gas", "gold", "oil"))


def test_names_of_classes_may_be_given(tmp_path):
    source = csv_with(tmp_path / "a.csv", "label", "|".join)
    split = SplitConfig(min_per_class=1, test_fraction=0.25, class_names=("a gas", "a metal", "an oil"))
    data = load_documents(source, split, table_format=TableFormat(several="|"))
    assert data.class_names == ("a gas", "a metal", "an oil")
    assert targets_by_text(data)["text 4"] == [0, 1, 1]


@pytest.mark.parametrize(
    ("heading", "label_of", "table_format", "told"),
    [
        ("a,b", lambda labels: "2,0", {"several": "columns", "label": "a,b"}, "has '2' in 'a'; write 0 or 1"),
        ("a", lambda labels: "1", {"several": "columns", "label": "a,b"}, "has no column 'b'"),
        ("label", lambda labels: "", {"several": "|"}, r"no example has a label between '\|'; check"),
        ("label", lambda labels: "oil", {"several": "|"}, "holds one class only, 'oil'"),
        (
            "label:a,label:b",
            lambda labels: "1,0",
            {"several": "|"},
            "has shares of classes, and .*name columns of 0 and 1 with `label_column`",
        ),
    ],
)
def test_what_is_no_such_label(tmp_path, heading, label_of, table_format, told):
    source = csv_with(tmp_path / "a.csv", heading, label_of)
    with pytest.raises(UserError, match=told):
        load(source, **table_format)


def test_columns_want_a_table(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "1.txt").write_text("one")
    with pytest.raises(
        UserError, match="`multi_label=columns` wants a table, and the class 'a' is from none"
    ):
        load(f"dir:{tmp_path}", several="columns", label="x,y")


def test_what_an_example_counts_for():
    one = Example("", "", "a", "train")
    assert one.counted == ("a",)
    assert one._replace(shares={"a": 0.7, "b": 0.3}).counted == ("a",)
    assert one._replace(shares={"a": 1.0, "b": 0.0, "c": 1.0}).counted == ("a", "c")
    assert one._replace(shares={"a": 0.0, "b": 0.0}).counted == ()
