"""Tables with shares of several classes in the place of one: how they are read, and whole runs on them."""

import csv
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from loading import load_documents, load_images, load_pairs
from tiny_bert import save_tiny_bert

from xmodal.config.data import DocumentConfig
from xmodal.core.errors import UserError
from xmodal.data.documents import DocumentData
from xmodal.data.images import batches, learnable
from xmodal.data.table_format import TableFormat
from xmodal.runs.inputs import other_test_documents

COLOURS = {"blue": (60, 60, 200), "red": (200, 60, 60)}
COLUMNS = ("image", "text", "label:red", "label:blue", "split")
READING = TableFormat("utf-8", None, "text", "label", "split", "image")
COUNT = 40


def shares_of(number: int) -> tuple[float, float]:
    """How many of 4 people said red, and blue, of picture and text of a number."""
    red = (4, 1, 3, 0, 2)[number % 5]
    return red, 4 - red


def rows(count=COUNT) -> list[dict]:
    return [
        {
            "image": f"{number}.png",
            "text": f"a photo of {'red' if shares_of(number)[0] > 1 else 'blue'} cat {number}",
            "label:red": shares_of(number)[0],
            "label:blue": shares_of(number)[1],
            "split": ("train", "train", "val", "test")[number * 4 // count],
        }
        for number in range(count)
    ]


def write_csv(path: Path, table, columns=COLUMNS, separator=",") -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=separator, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table)
    return path


def write_json(path: Path, table) -> Path:
    path.write_text("\n".join(map(json.dumps, table)))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Numbered pictures, as red as people say that they are."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(COUNT):
        red, blue = shares_of(number)
        colour = (red * np.array(COLOURS["red"]) + blue * np.array(COLOURS["blue"])) / 4
        pixels = np.clip(colour + random.normal(0, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


@pytest.fixture
def load(pictures, tmp_path):
    """Writes and reads a table of one of the kinds."""

    def load(kind: str, table, columns=COLUMNS, **options):
        if kind == "images":
            path = write_csv(pictures / f"{tmp_path.name}.csv", table, columns)
            return load_images(f"csv:{path}", cache=tmp_path, **options)
        what, _, form = kind.partition(" in ")
        path = tmp_path / f"table.{form}"
        if form == "jsonl":
            write_json(path, table)
        else:
            write_csv(path, table, columns, "\t" if form == "tsv" else ",")
        if what == "documents":
            return load_documents(f"{form}:{path}", cache=tmp_path, **options)
        return load_pairs(
            f"{form}:{path}", cache=tmp_path, table_format=READING, image_folder=pictures, **options
        )

    return load


KINDS = ["images", "documents in csv", "documents in tsv", "documents in jsonl", "pairs in csv"]
kinds = pytest.mark.parametrize("kind", [*KINDS, "pairs in jsonl"])


def number_of(kind: str, name: str) -> int:
    if kind == "images":
        return int(name.partition(".")[0])
    return int(name.partition(":")[2]) - (1 if kind.endswith("jsonl") else 2)


def of(data, kind: str):
    """Yields the number, the label and the shares of every example."""
    for split in (data.train, data.validation, data.test):
        for name, label, shares in zip(split.ids, split.labels, split.shares, strict=True):
            yield number_of(kind, name), label, shares


@kinds
def test_shares_add_up_to_one_and_the_first_of_the_largest_is_the_class(kind, load):
    data = load(kind, rows())
    assert data.class_names == ("blue", "red")
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 10, 10)
    assert data.train.shares.dtype == np.float32
    found = list(of(data, kind))
    assert sorted(number for number, _, _ in found) == list(range(COUNT))
    for number, label, shares in found:
        red, blue = shares_of(number)
        np.testing.assert_allclose(shares, [blue / 4, red / 4])
        assert label == (red > blue)
    assert data.report.counts["train"] == {"blue": 12, "red": 8}
    assert data.train.targets is data.train.shares


def test_keys_of_json_may_be_left_out_or_stand_in_one_object(load):
    table = [
        {"text": row["text"], "split": row["split"]}
        | {name: share for name in ("label:red", "label:blue") if (share := row[name])}
        for row in rows()
    ]
    held = [
        {"text": row["text"], "split": row["split"]}
        | {"label": {"blue": row["label:blue"], "red": row["label:red"]}}
        for row in rows()
    ]
    first, second = (load("documents in jsonl", part) for part in (table, held))
    for number, _, shares in (*of(first, "jsonl"), *of(second, "jsonl")):
        red, blue = shares_of(number)
        np.testing.assert_allclose(shares, [blue / 4, red / 4])


def test_names_with_colons_spaces_and_numbers(load):
    table = [row | {"label: 10": row["label:red"], "label:9:5": row["label:blue"]} for row in rows()]
    data = load("documents in csv", table, ("text", "label: 10", "label:9:5", "split"))
    assert data.class_names == ("10", "9:5")
    table = [row | {"label:10": row["label:red"], "label:9": row["label:blue"]} for row in rows()]
    data = load("documents in csv", table, ("text", "label:10", "label:9", "split"))
    # By their value: and so nine is the first of equal ones.
    assert data.class_names == ("9", "10")
    assert (data.train.labels == data.train.shares.argmax(axis=1)).all()


@kinds
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("0", "0"), "has a share of 0 in each of 'label:red', 'label:blue'; give it a class, or remove it"),
        (("-1", "2"), "has {} in 'label:red'; write a number, 0 or above"),
        (("nan", "2"), "has {} in 'label:red'; write a number, 0 or above"),
        (("inf", "2"), "has {} in 'label:red'; write a number, 0 or above"),
        (("50%", "2"), "has {} in 'label:red'; write a number, 0 or above"),
        (("", "2"), "has {} in 'label:red'; write a number, 0 or above"),
    ],
)
def test_what_is_no_share(kind, load, tmp_path, pictures, cells, message):
    table = rows()
    table[7] |= dict(zip(("label:red", "label:blue"), cells, strict=True))
    line = 8 if kind.endswith("jsonl") else 9
    name = (
        pictures / f"{tmp_path.name}.csv" if kind == "images" else tmp_path / f"table.{kind[-5:].split()[-1]}"
    )
    with pytest.raises(
        UserError, match=re.escape(f"line {line} of '{name}' {message.format(repr(cells[0]))}")
    ):
        load(kind, table)


@pytest.mark.parametrize("value", [True, None, [1], float("nan"), 10**400])
def test_what_is_no_share_in_json(load, value):
    with pytest.raises(UserError, match=r"line 1 of .*table.jsonl' has .* in 'label:red'; write a number"):
        load("documents in jsonl", [row | {"label:red": value} for row in rows()])


def test_huge_and_tiny_shares(load):
    huge, tiny = {"label:red": 1e308, "label:blue": 1e308}, {"label:red": 5e-324, "label:blue": 0}
    table = [row | (tiny if number % 2 else huge) for number, row in enumerate(rows())]
    data = load("documents in jsonl", table)
    assert set(map(tuple, data.train.shares.tolist())) == {(0.5, 0.5), (0.0, 1.0)}


@kinds
def test_a_table_has_either_classes_or_shares(kind, load):
    with pytest.raises(UserError, match="has both 'label' and 'label:red'; keep either the classes or their"):
        load(kind, [row | {"label": "red"} for row in rows()], (*COLUMNS, "label"))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("label: red", "gives the shares of 'red' twice; keep one of the columns"),
        ("label:", "has a column 'label:', which names no class; write label:NAME"),
    ],
)
@kinds
def test_columns_that_name_no_class_of_their_own(kind, load, column, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load(kind, [row | {column: 1} for row in rows()], (*COLUMNS, column))


def test_the_flag_names_the_columns_of_shares(tmp_path):
    table = [{"text": row["text"], "mood:up": 1, "mood:down": n} for n, row in enumerate(rows())]
    path = write_csv(tmp_path / "moods.csv", table, ("text", "mood:up", "mood:down"))
    data = load_documents(f"csv:{path}", cache=tmp_path, label_column="mood", min_per_class=1)
    assert data.class_names == ("down", "up")
    with pytest.raises(UserError, match="has no column 'label' among 'text', 'mood:up', 'mood:down'"):
        load_documents(f"csv:{path}", cache=tmp_path)


@kinds
def test_names_and_limits_and_cuts(kind, load):
    columns = tuple(column for column in COLUMNS if column != "split")
    table = [{name: row[name] for name in columns} for row in rows()]
    options = {"class_names": ("sea", "fire"), "validation_fraction": 0.25, "test_fraction": 0.2}
    data = load(kind, table, columns, **options, limit=9)
    assert data.class_names == ("sea", "fire")
    # Three in five are blue.
    assert data.report.counts["train"] == {"sea": 5, "fire": 4}
    found = list(of(data, kind))
    assert len(found) < COUNT / 2
    for number, label, shares in found:
        red, blue = shares_of(number)
        np.testing.assert_allclose(shares, [blue / 4, red / 4])
        assert label == (red > blue)
    fewer = load(kind, table, columns, **options, train_examples=16)
    assert len(fewer.train) + len(fewer.validation) == 16


def test_a_class_that_is_never_the_most_probable_one(load):
    table = [row | {"label:green": 0.5} for row in rows()]
    columns = (*COLUMNS, "label:green")
    with pytest.raises(
        UserError, match=r"fewer than `min_per_class=2` training documents in class 'green' \(0\)"
    ):
        load("documents in csv", table, columns)
    data = load("documents in csv", table, columns, min_per_class=0)
    assert data.class_names == ("blue", "green", "red")
    np.testing.assert_allclose(data.train.shares[:, 1], 1 / 9)


def test_a_class_that_nothing_in_train_belongs_to(load):
    table = [row | {"label:green": 0} for row in rows()]
    columns = (*COLUMNS, "label:green")
    with pytest.raises(UserError, match="holds no training documents of class 'green'; add some, or remove"):
        load("documents in csv", table, columns, min_per_class=0)
    table[-1]["label:green"] = 1
    with pytest.raises(UserError, match=r"class 'green' stands in test \('table.csv:41'\) but not in train"):
        load("documents in csv", table, columns)


def test_the_same_document_may_have_other_shares_in_another_row(load):
    table = rows()
    # Two of train, and one of train in test: most probable are the same classes.
    table[1]["text"] = table[3]["text"]
    table[39]["text"] = table[4]["text"]
    data = load("documents in csv", table)
    assert data.report.duplicates == (("table.csv:3", "table.csv:5"),)
    assert data.report.leaked == (("table.csv:6", "table.csv:41"),)
    assert not any("two classes" in warning for warning in data.report.warnings)
    fewer = load("documents in csv", table, keep_leaks=False)
    assert len(fewer.train) == len(data.train) - 1
    np.testing.assert_array_equal(fewer.train.shares, np.delete(data.train.shares, 4, axis=0))


def test_a_split_may_have_classes_and_another_one_shares(tmp_path):
    table = rows()
    (tmp_path / "news").mkdir()
    write_csv(tmp_path / "news/train.csv", table[:30], ("text", "label:red", "label:blue"))
    names = [{"text": row["text"], "label": "red" if row["label:red"] > 1 else "blue"} for row in table[30:]]
    write_csv(tmp_path / "news/test.csv", names, ("text", "label"))
    data = load_documents(f"csv:{tmp_path / 'news'}", cache=tmp_path)
    assert data.train.shares.shape == (len(data.train), 2)
    assert data.test.shares is None
    assert data.test.targets is data.test.labels


def test_a_class_among_shares_is_a_share_of_one(load):
    table = [
        {"text": row["text"], "split": row["split"], "label": {"blue": 1, "red": 2} if number % 2 else "blue"}
        for number, row in enumerate(rows())
    ]
    for number, label, shares in of(load("documents in jsonl", table), "jsonl"):
        np.testing.assert_allclose(shares, [1 / 3, 2 / 3] if number % 2 else [1, 0])
        assert label == number % 2


def test_other_test_documents_may_have_either(tmp_path):
    table = rows()
    soft = write_csv(tmp_path / "soft.csv", table)
    hard = write_csv(
        tmp_path / "hard.csv",
        [{"text": row["text"], "label": ("blue", "red")[row["label:red"] > 1]} for row in table],
        ("text", "label"),
    )
    for own, other in ((soft, hard), (hard, soft)):
        data = load_documents(f"csv:{own}", cache=tmp_path)
        found = others(data, f"other=csv:{other}", tmp_path)["other"]
        assert (found.test.shares is None) == (other == hard)
        assert found.train is data.train
        assert set(found.test.labels) == {0, 1}
    extra = write_csv(
        tmp_path / "extra.csv", [row | {"label:green": 1} for row in table], (*COLUMNS, "label:green")
    )
    with pytest.raises(UserError, match=r"class 'green' \('extra.csv:\d+'\) does not stand in train"):
        others(load_documents(f"csv:{soft}", cache=tmp_path), f"other=csv:{extra}", tmp_path)


def others(data: DocumentData, item: str, cache: Path) -> dict[str, DocumentData]:
    config = DocumentConfig(
        documents="",
        test_documents=(item,),
        text_column="text",
        label_column="label",
        split_column="split",
        encoding="utf-8",
        fallback_encoding=None,
        baseline_words=1,
        scrub=False,
    )
    return other_test_documents(data, config, cache=cache, offline=True)


def test_batches_of_images_have_their_shares_in_any_order(load):
    split = load("images", rows()).train.take(np.array([3, 0, 7, 5, 11]))
    for batch in batches(split, image_size=8, batch_size=2, shuffle=True, augment=("flip",)):
        np.testing.assert_array_equal(batch["shares"], split.shares[batch["index"]])
        np.testing.assert_array_equal(batch["label"], split.labels[batch["index"]])
        _, targets, weights = learnable(batch)
        np.testing.assert_array_equal(targets, batch["shares"])
        assert weights.shape == batch["label"].shape


def test_pairs_hand_their_shares_to_their_images(load):
    table = rows()
    table[2]["image"] = ""
    split = load("pairs in csv", table).train
    np.testing.assert_array_equal(split.images().shares, np.delete(split.shares, 2, axis=0))


# Whole runs.


@pytest.fixture(scope="module")
def folder(pictures) -> Path:
    save_tiny_bert(pictures / "bert")
    write_csv(pictures / "soft.csv", rows())
    return pictures


def run(folder: Path, *flags: str) -> tuple[dict, dict[str, list[float]]]:
    """Runs an experiment as a user does, and returns its results and the losses of each training."""
    common = ("--text_encoder=bert", "--sequence_length=12", "--min_per_class=2", "--offline", "--noexport")
    common += ("--nobaseline",)
    process = subprocess.run(
        [warm_python.path(), "-m", "xmodal.run", *common, "--output_dir=run", "--overwrite", *flags],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    losses: dict[str, list[float]] = {}
    for line in (folder / "run/metrics.jsonl").read_text().splitlines():
        epoch = json.loads(line)
        losses.setdefault(epoch["stage"], []).append(epoch["loss"])
    return json.loads((folder / "run/metrics.json").read_text())["results"], losses


def entropy(*shares: float) -> float:
    return -sum(share * np.log(share) for share in shares if share)


# What is left of the loss when the shares of every example are answered; those of classes would leave 0.
LEAST = np.mean([entropy(red / 4, 1 - red / 4) for red in (4, 1, 3, 0, 2)])


@pytest.mark.slow
def test_documents_with_soft_labels(folder):
    results, losses = run(
        folder,
        "--experiment=bert_news",
        "--documents=csv:soft.csv",
        "--test_documents=again=csv:soft.csv",
        "--text_epochs=12",
        "--text_batch_size=4",
        "--text_learning_rate=0.01",
        "--patience=12",
    )
    assert {name: result["n"] for name, result in results.items()} == {
        "bert": 10,
        "tf_idf": 10,
        "bert_again": 10,
    }
    # BERT knows no number: it reads a red one, of three with 3/4 on average, or a blue one, of two with 1/8.
    least = 3 / 5 * entropy(3 / 4, 1 / 4) + 2 / 5 * entropy(1 / 8, 7 / 8)
    assert min(losses["bert"]) > least - 0.02
    assert losses["bert"][-1] < min(least + 0.1, losses["bert"][0])
    assert LEAST < losses["tf_idf"][-1] < losses["tf_idf"][0]


def test_images_with_soft_labels(folder):
    results, losses = run(
        folder,
        "--experiment=vgg_to_bert",
        "--dataset=csv:soft.csv",
        "--image_weights=none",
        "--features=block1_pool",
        "--trainable=block1",
        "--augment=flip",
        "--head_epochs=20",
        "--epochs=2",
        "--batch_size=8",
        "--label_smoothing=0",
        "--dropout=0",
        "--text_epochs=1",
    )
    assert results["image_only"]["n"] == 10
    assert LEAST - 0.02 < losses["images: head"][-1] < losses["images: head"][0]
    assert len(losses["images: network"]) > 0
    assert min(losses["images: network"]) > LEAST - 0.02


@pytest.mark.slow
def test_pairs_with_soft_labels(folder):
    results, losses = run(
        folder,
        "--experiment=fusion",
        "--pairs=csv:soft.csv",
        "--base=small_cnn",
        "--image_weights=none",
        "--features=none",
        "--region_layer=pool2",
        "--fusion=late,gated",
        "--text_trainable=all",
        "--text_epochs=1",
        "--epochs=2",
        "--batch_size=8",
        "--fusion_units=16",
        "--fusion_epochs=20",
        "--fusion_learning_rate=0.01",
    )
    assert {"image_only", "text_only", "fused_late", "fused_gated"} <= set(results)
    for stage in ("image_only", "text_only", "fused_gated"):
        assert LEAST - 0.02 < losses[stage][-1] < losses[stage][0]
