"""Documents in files of every kind: what is read, how it is split, and what is said of bad input."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from loading import load_documents

from xmodal.config.data import DocumentConfig
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.runs.inputs import other_test_documents


def refuses(text: str):
    return pytest.raises(UserError, match=f"^{re.escape(text)}")


def words(number: int) -> str:
    return f"document number {number} of all"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_classes(folder: Path, start: int, counts: dict[str, int]) -> int:
    for name, count in counts.items():
        for _ in range(count):
            write(folder / name / f"{start}.txt", words(start))
            start += 1
    return start


@pytest.fixture
def load(tmp_path):
    return lambda dataset, **options: load_documents(dataset, cache=tmp_path / "cache", **options)


@pytest.fixture
def folder(tmp_path):
    """Two classes in train/, and the same in test/."""
    root = tmp_path / "news"
    start = write_classes(root / "train", 0, {"sport": 10, "world": 20})
    write_classes(root / "test", start, {"sport": 3, "world": 4})
    return root


def sizes(data) -> list[int]:
    return [len(split) for split in (data.train, data.validation, data.test)]


# Folders.


def test_a_folder_of_classes_and_splits(folder, load):
    data = load(f"dir:{folder}")
    assert data.class_names == ("sport", "world")
    assert sizes(data) == [27, 3, 7]
    assert data.report.counts["test"] == {"sport": 3, "world": 4}
    assert data.test.labels.dtype == np.int32
    for split in (data.train, data.validation, data.test):
        assert split.texts.dtype == object
        for text, label, name in zip(split.texts, split.labels, split.ids, strict=True):
            assert name.split("/")[1] == data.class_names[label]
            assert text == words(int(Path(name).stem))
            assert type(text) is str
    assert sorted((*data.train.ids, *data.validation.ids, *data.test.ids)) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")
    )


def test_a_folder_of_classes_alone_is_cut(tmp_path, load):
    write_classes(tmp_path / "flat", 0, {"a": 20, "b": 10})
    assert sizes(load(f"dir:{tmp_path / 'flat'}", test_fraction=0.3, validation_fraction=0.1)) == [19, 2, 9]


def test_the_label_is_the_number_before_the_first_dot(tmp_path, load):
    for split, first in (("train", 0), ("val", 50), ("test", 70)):
        for number in range(first, first + 24):
            write(tmp_path / "n" / split / f"{number % 12}.{number}.v2.txt", words(number))
    data = load(f"dir:{tmp_path / 'n'}")
    assert data.class_names == tuple(str(number) for number in range(12))
    assert sizes(data) == [24, 24, 24]
    assert data.validation.labels[data.validation.ids.index("val/2.50.v2.txt")] == 2


def test_the_cuts_follow_the_seed(folder, load):
    first, again, other = (load(f"dir:{folder}", seed=seed).validation.ids for seed in (1, 1, 2))
    assert first == again != other


def test_class_names_limit_and_too_few(folder, load):
    data = load(f"dir:{folder}", class_names=["Sport", "Welt"], limit=9)
    assert data.class_names == ("Sport", "Welt")
    assert sizes(data) == [9, 2, 2]
    with refuses(
        "fewer than `min_per_class=10` training documents in class 'sport' (9); add documents, remove"
    ):
        load(f"dir:{folder}", min_per_class=10)


def test_empty_repeated_and_leaked_documents_are_found(folder, load):
    write(folder / "train" / "sport" / "empty.txt", " \n\t")
    write(folder / "train" / "sport" / "again.txt", words(0).replace(" ", "\r\n  "))
    write(folder / "train" / "world" / "other.txt", words(12))
    write(folder / "test" / "sport" / "seen.txt", words(3))
    write(folder / "notes.md", "no document")
    write(folder / "train" / "notes.md", "no document")
    data = load(f"dir:{folder}", validation_fraction=0.05)
    report = data.report
    assert report.dropped == (("train/sport/empty.txt", "empty"),)
    assert ("train/sport/0.txt", "train/sport/again.txt") in report.duplicates
    assert report.leaked == (("train/sport/3.txt", "test/sport/seen.txt"),)
    told = "\n".join(report.warnings)
    assert "files other than .txt, which are not read: 1" in told
    assert "1 of 41 documents cannot be used and were left out: 'train/sport/empty.txt' (empty)" in told
    assert "1 document of train or validation also in test were kept" in told
    assert "document number" not in told
    without = load(f"dir:{folder}", validation_fraction=0.05, keep_leaks=False)
    assert "train/sport/3.txt" not in without.train.ids
    assert "test/sport/seen.txt" in without.test.ids


def test_the_same_words_in_two_classes(folder, load):
    write(folder / "train" / "world" / "odd.txt", words(0))
    assert any(
        "1 document with the same words in two classes: 'train/sport/0.txt' = 'train/world/odd.txt'" in line
        for line in load(f"dir:{folder}").report.warnings
    )


def test_an_encoding_and_its_fallback(folder, load):
    write(folder / "train" / "sport" / "marked.txt", b"\xef\xbb\xbfmarked")
    latin = write(folder / "train" / "sport" / "latin.txt", "señal".encode("latin-1"))
    with refuses(
        "'train/sport/latin.txt' is not in utf-8 (0xf1 does not fit there); save it in UTF-8, or give its "
        "encoding with `encoding` or `fallback_encoding`"
    ):
        load(f"dir:{folder}")
    data = load(f"dir:{folder}", fallback_encoding="latin-1")
    texts = [*data.train.texts, *data.validation.texts]
    assert {"señal", "marked"} < set(texts)
    assert "files in latin-1 and not in utf-8: 1, such as 'train/sport/latin.txt'" in (data.report.warnings)
    with refuses("'train/sport/latin.txt' is not in ascii (0xf1"):
        load(f"dir:{folder}", fallback_encoding="ascii")
    latin.write_bytes("信号".encode("gb18030"))
    assert "信号" in load(f"dir:{folder}", encoding="gb18030").train.texts
    with refuses("`encoding=utf-9` is not known; utf-8, latin-1"):
        load(f"dir:{folder}", encoding="utf-9")
    with refuses("`fallback_encoding=hex` is not known"):
        load(f"dir:{folder}", fallback_encoding="hex")


# Folders that cannot be learned from.


def test_a_folder_without_documents(folder, load, tmp_path):
    with refuses(f"the folder '{tmp_path / 'no'}' does not exist; check the path of `documents`"):
        load(f"dir:{tmp_path / 'no'}")
    write(tmp_path / "pdf" / "a" / "x.pdf", "x")
    with refuses(f"the folder '{tmp_path / 'pdf'}' holds no .txt files; put the documents in it"):
        load(f"dir:{tmp_path / 'pdf'}")
    for path in (folder / "test").rglob("*.txt"):
        path.rename(path.with_suffix(".doc"))
    with refuses(f"the folder '{folder / 'test'}' holds no .txt files"):
        load(f"dir:{folder}")


def test_a_split_without_labels(folder, load):
    path = write(folder / "val" / "story.txt", "who knows")
    with refuses(
        f"the file '{path}' has no label; put it in a folder named after its class, or start its name with "
        "a number and a dot"
    ):
        load(f"dir:{folder}")


def test_a_class_in_test_only(folder, load):
    write(folder / "test" / "art" / "x.txt", "a picture")
    with refuses("class 'art' stands in test ('test/art/x.txt') but not in train; add training documents of"):
        load(f"dir:{folder}")


def test_a_class_that_test_lacks(folder, load):
    write_classes(folder / "train", 100, {"art": 5})
    assert "no test documents in class 'art'" in load(f"dir:{folder}").report.warnings


def test_splits_without_train(folder, load):
    (folder / "train").rename(folder / "val")
    with refuses(f"the folder '{folder}' holds no train folder; add it"):
        load(f"dir:{folder}")


def test_a_file_of_1_gb_is_refused_unread(folder, load):
    path = folder / "train" / "sport" / "huge.txt"
    with open(path, "wb") as file:
        file.truncate(2**30)
    with refuses(
        f"the file '{path}' is not read: it holds more than 16 MB, the most of a document; cut it into"
    ):
        load(f"dir:{folder}")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("head", [b"", b'text,label\n"', b"text\tlabel\n"])
def test_a_table_with_a_row_of_1_gb_is_refused(tmp_path, load, kind, head):
    path = tmp_path / f"huge.{kind}"
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(2**30)
    with pytest.raises(UserError, match=r"^.*huge\.\w+'.*; .*") as caught:
        load(f"{kind}:{path}")
    assert len(str(caught.value)) < 400


# Tables.


def rows(count: int = 24) -> list[tuple[str, str]]:
    return [(f'the "{number}", a\tdocument,\nof words', "ab"[number % 2]) for number in range(count)]


def written_table(path: Path, kind: str) -> Path:
    if kind == "jsonl":
        lines = [json.dumps({"body": text, "topic": label}) for text, label in rows()]
        return write(path, "\n".join(lines) + "\n\n")
    separator = {"csv": ",", "tsv": "\t"}[kind]
    doubled = [(text.replace('"', '""'), label) for text, label in rows()]
    return write(
        path,
        f"topic{separator}body\r\n" + "".join(f'{label}{separator}"{text}"\r\n' for text, label in doubled),
    )


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_table_with_named_columns(tmp_path, load, kind):
    path = written_table(tmp_path / f"t.{kind}", kind)
    data = load(f"{kind}:{path}", text_column="body", label_column="topic", quoting=True)
    assert sizes(data) == [17, 2, 5]
    found = {
        (str(text), data.class_names[label])
        for split in (data.train, data.validation, data.test)
        for text, label in zip(split.texts, split.labels, strict=True)
    }
    assert found == set(rows())
    assert data.train.ids[0].startswith(f"t.{kind}:")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_text_in_several_columns(tmp_path, load, kind):
    table = [{"title": f"title {n} ", "body": f"words {n}" if n else "", "label": n % 2} for n in range(18)]
    if kind == "jsonl":
        lines = map(json.dumps, table)
    else:
        lines = ["title,body,label", *(",".join(map(str, row.values())) for row in table)]
    data = load(f"{kind}:{write(tmp_path / f't.{kind}', chr(10).join(lines))}", text_column="title,body")
    texts = {text for split in (data.train, data.validation, data.test) for text in split.texts}
    assert texts == {"title 0", *(f"title {n} words {n}" for n in range(1, 18))}
    with pytest.raises(UserError, match=r"there is no 'head'|has no column 'head' among 'title', 'body'"):
        load(f"{kind}:{tmp_path / f't.{kind}'}", text_column="title,head")


def test_a_column_of_splits(tmp_path, load):
    lines = ["\ufefftext,label,split"] + [
        f"words {number},{number % 2},{['train', 'dev', 'test'][number % 3]}" for number in range(18)
    ]
    data = load(f"csv:{write(tmp_path / 't.csv', chr(10).join(lines))}")
    assert sizes(data) == [6, 6, 6]
    assert data.test.texts[0] == "words 2"
    lines[4] = "words,0,tset"
    with refuses(
        f"unknown splits in '{tmp_path / 't.csv'}': 'tset' (1), the first in 't.csv:5'; did you mean 'test'?"
    ):
        load(f"csv:{write(tmp_path / 't.csv', chr(10).join(lines))}")


def test_a_file_for_each_split(tmp_path, load):
    for split, first in (("train", 0), ("dev", 100), ("test", 200)):
        lines = [f"{number % 3}\t{words(number)}" for number in range(first, first + 9)]
        write(tmp_path / "eng" / f"{split}.tsv", "\n".join(["category\ttext", *lines]))
    data = load(f"tsv:{tmp_path / 'eng'}", label_column="category")
    assert sizes(data) == [9, 9, 9]
    assert data.test.texts[0] == words(200)
    write(tmp_path / "eng" / "val.tsv", "category\ttext\n")
    with refuses(f"'{tmp_path / 'eng'}' holds both 'dev.tsv' and 'val.tsv'; keep one of them"):
        load(f"tsv:{tmp_path / 'eng'}", label_column="category")
    (tmp_path / "eng" / "train.tsv").unlink()
    with refuses(f"the folder '{tmp_path / 'eng'}' holds no train.tsv; add it, or name one file"):
        load(f"tsv:{tmp_path / 'eng'}", label_column="category")


@pytest.mark.parametrize(
    "names",
    [
        ("TRAIN.CSV", "Val.csv", "Test.CSV"),
        ("train.csv.gz", "dev.csv.gz", "test.csv.gz"),
        ("訓練集.csv", "驗證集.csv", "測試集.csv"),
        ("train2017.csv", "val2017.csv", "test2017.csv"),
    ],
)
def test_a_file_for_each_split_by_any_name(tmp_path, load, names):
    for name, first in zip(names, (0, 100, 200), strict=True):
        content = "text,label\n" + "".join(
            f"{words(number)},{number % 3}\n" for number in range(first, first + 9)
        )
        packed = gzip.compress(content.encode()) if name.endswith(".gz") else content.encode()
        (tmp_path / name).write_bytes(packed)
    data = load(f"csv:{tmp_path}")
    assert sizes(data) == [9, 9, 9]
    assert data.test.texts[0] == words(200)


def test_a_split_in_several_files_that_count_themselves(tmp_path, load):
    for name, first in (
        ("train-00000-of-00002", 0),
        ("train-00001-of-00002", 6),
        ("test-00000-of-00001", 50),
    ):
        lines = [
            json.dumps({"text": words(number), "label": number % 2}) for number in range(first, first + 6)
        ]
        write(tmp_path / f"{name}.jsonl", "\n".join(lines))
    data = load(f"jsonl:{tmp_path}", validation_fraction=0)
    assert sizes(data) == [12, 0, 6]
    write(tmp_path / "train.jsonl", "")
    both = "'train-00001-of-00002.jsonl' and 'train.jsonl'"
    with refuses(f"'{tmp_path}' holds both {both}; keep one of them"):
        load(f"jsonl:{tmp_path}")


@pytest.mark.parametrize("before", ["\n\n", "sep=;\n", '"sep=;"\n', ";;\n \n"])
def test_what_excel_writes_before_a_heading(tmp_path, load, before):
    rows = "".join(f"a, {words(number)};{number % 2}\n" for number in range(8))
    path = write(tmp_path / "t.csv", f"{before}text;label\n{rows}")
    data = load(f"csv:{path}")
    assert data.train.texts[0].startswith("a, ")
    number = before.count("\n") + 10
    write(tmp_path / "t.csv", f"{before}text;label\n{rows}x;y;z\n")
    with refuses(f"line {number} of '{path}' has more fields than columns"):
        load(f"csv:{path}")


def test_cells_with_types_are_read_as_those_of_a_csv(tmp_path, load):
    table = [
        {"Text": words(n), "LABEL": n % 2, "Split": ("Train", None, "TESTING")[n % 3]} for n in range(18)
    ]
    table.append({"Text": None, "LABEL": 1, "Split": "train"})
    path = write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, table)))
    data = load(f"jsonl:{path}", validation_fraction=0)
    assert sizes(data) == [12, 0, 6]
    assert data.report.dropped == (("t.jsonl:19", "empty"),)
    assert any("without a split, which are taken for train: 6" in line for line in data.report.warnings)


def test_a_table_in_another_encoding(tmp_path, load):
    path = write(tmp_path / "t.csv", "text,label\n" + "".join(f"señal {n},{n % 2}\n" for n in range(9)))
    path.write_bytes(path.read_text().encode("latin-1"))
    with refuses(f"'{path}' is not in utf-8 (0xf1"):
        load(f"csv:{path}")
    data = load(f"csv:{path}", fallback_encoding="latin-1")
    assert data.train.texts[0].startswith("señal")
    assert any(line.startswith("files in latin-1") for line in data.report.warnings)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "", "has no column 'text' among none; name its columns with `text_column` and"),
        ("t.csv", "texts,label\nx,0\n", "has no column 'text' among 'texts', 'label'; name"),
        ("t.csv", "text,label\nx,0\ny,\n", "has no label in 'label'; fill it in or remove the line"),
        ("t.csv", "text,label\nx,0\ny\n", "has no label in 'label'; fill it in"),
        ("t.csv", "text,label\nx, y,0\n", 'has more fields than columns; put "quotes" around'),
        ("t.csv", 'text,label\n"x,0\n', "is not well formed (unexpected end of data); put"),
        (
            "t.jsonl",
            '{"text": "x", "label": 1}\n{"text": "y"}\n',
            "there is no 'label' among 'text'; give 'label' as a string or",
        ),
        ("t.jsonl", '{"text": 5, "label": 1}\n', "'text' is int; give 'text' as a string"),
        ("t.jsonl", '{"text": "x", "label": null}\n', "'label' is empty; give"),
        ("t.jsonl", "[1]\n", "is no JSON object; write an object a line"),
        ("t.jsonl", "{text}\n", "is not JSON; write an object a line"),
        ("t.jsonl", "[" * 100_000, "is not JSON; write"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path, load, name, content, told):
    path = write(tmp_path / name, content)
    with pytest.raises(UserError, match=re.escape(told)) as caught:
        load(f"{path.suffix[1:]}:{path}")
    assert str(path) in str(caught.value)


def test_labels_missing_in_one_split_of_a_table(tmp_path, load):
    lines = ["text,label,split", "x,0,train", "y,1,train", "z,,test"]
    path = write(tmp_path / "t.csv", "\n".join(lines))
    with refuses(f"line 4 of '{path}' has no label in 'label'; fill it in or remove the line"):
        load(f"csv:{path}")


def test_sources_that_are_not_known(folder, load):
    with refuses("unknown `documents='reuters_r9'` (there are 20newsgroups, reuters_r52, reuters_r8"[:40]):
        load("reuters_r9")
    with refuses("`documents='dir:'` is not complete; write it as dir:PATH"):
        load("dir:")
    with refuses(f"`documents='{folder}'` does not say what it is; did you mean 'dir:{folder}'?"):
        load(str(folder))
    with refuses("the file 'no.csv' does not exist; check the path of `documents`"):
        load("csv:no.csv")


# TFDS and the named sets.


def test_tfds(tmp_path, load):
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyNews(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "description": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["world", "sport"]),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0, 12), "test": self._generate_examples(12, 18)}

        def _generate_examples(self, start, end):
            for number in range(start, end):
                yield number, {"description": words(number), "label": number % 2}

    TinyNews(data_dir=tmp_path / "cache" / "tfds").download_and_prepare()
    data = load("tfds:tiny_news", offline=True, text_column="description")
    assert data.class_names == ("world", "sport")
    assert sizes(data) == [10, 2, 6]
    assert sorted(data.test.texts) == [words(number) for number in range(12, 18)]
    with refuses("the TFDS data set 'tiny_news' has no features named text and label"):
        load("tfds:tiny_news", offline=True)


@pytest.mark.parametrize(
    ("name", "train", "test", "classes", "first"),
    [
        ("20newsgroups", 11293, 7528, 20, ("alt.atheism", "alt atheism faq atheist resources")),
        ("reuters_r8", 5485, 2189, 8, ("earn", "champion products ch approves stock split")),
        ("reuters_r52", 6532, 2568, 52, ("cocoa", "bahia cocoa review showers continued")),
    ],
)
def test_the_standard_splits(name, train, test, classes, first):
    data = load_documents(name, cache=cache_folder(), min_per_class=1)
    assert len(data.train) + len(data.validation) == train
    assert len(data.test) == test
    assert len(data.class_names) == classes
    found = {
        name: (data.class_names[label], text)
        for split in (data.train, data.validation)
        for name, label, text in zip(split.ids, split.labels, split.texts, strict=True)
    }
    assert found[f"{name}/train/0"][0] == first[0]
    assert found[f"{name}/train/0"][1].startswith(first[1])
    assert set(data.test.ids) == {f"{name}/test/{number}" for number in range(test)}


# Other test sets.


def other_tests(load, folder, cache, *sources: str):
    flags = DocumentConfig(f"dir:{folder}", sources, "text", "label", "split", "utf-8", None, 100, True)
    return other_test_documents(load(f"dir:{folder}"), flags, cache=cache, offline=True)


def test_other_test_sets_have_their_own_test_split_and_the_same_training_documents(folder, load, tmp_path):
    table = write(tmp_path / "de.tsv", "label\ttext\nworld\teine Nachricht\nsport\tein Spiel\nsport\t \n")
    french = tmp_path / "fr"
    write_classes(french / "train", 100, {"sport": 2, "art": 1})
    write_classes(french / "test", 200, {"sport": 1})
    others = other_tests(load, folder, tmp_path, f"german=tsv:{table}", f"french=dir:{french}")
    original = load(f"dir:{folder}")
    assert list(others) == ["german", "french"]
    german, french = others.values()
    assert german.test.texts.tolist() == ["eine Nachricht", "ein Spiel"]
    assert german.test.labels.tolist() == [1, 0]
    assert german.report.counts["test"] == {"sport": 1, "world": 1}
    assert german.report.dropped == (("de.tsv:4", "empty"),)
    assert french.test.texts.tolist() == [words(200)]
    for other in (german, french):
        assert other.train.ids == original.train.ids
        assert other.report.counts["train"] == original.report.counts["train"]
        assert not set(other.report.warnings) & set(original.report.warnings)


def test_a_training_document_in_another_test_set_is_told(folder, load, tmp_path):
    table = write(tmp_path / "more.csv", f"label,text\nsport,{words(3)}\nworld,other words\n")
    [other] = other_tests(load, folder, tmp_path, f"more=csv:{table}").values()
    assert [test for _, test in other.report.leaked] == ["more.csv:2"]


def test_another_test_set_with_a_class_of_its_own(folder, load, tmp_path):
    table = write(tmp_path / "more.csv", "label,text\nart,a painting\n")
    with refuses(
        f"`test_documents=more=csv:{table}`: class 'art' ('more.csv:2') does not stand in train; "
        "its classes must be among sport, world"
    ):
        other_tests(load, folder, tmp_path, f"more=csv:{table}")


def test_another_test_set_that_is_not_there(folder, load, tmp_path):
    with refuses("`test_documents=swahili=tsv:nowhere`: the file 'nowhere' does not exist"):
        other_tests(load, folder, tmp_path, "swahili=tsv:nowhere")
