"""Sources of data are rows of a table: a new one, and what is told of one that is in none."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from loading import load_documents, load_images, load_pairs

from xmodal.config.flags import help_text
from xmodal.core.errors import UserError
from xmodal.data.document_sources import DOCUMENT_SOURCES
from xmodal.data.examples import Example
from xmodal.data.image_sources import IMAGE_SOURCES
from xmodal.data.pair_sources import PAIR_SOURCES
from xmodal.data.sources import RawExamples, permission_errors, source_reader
from xmodal.data.table_format import TableFormat

SOURCES = {"mnist_5k": 1, "folder:PATH": 2, "csv:PATH": 3, "tfds:NAME": 4}
# Reading it fails as reading from a broken disk does.
BROKEN = "/proc/self/mem"
COLUMNS = TableFormat("utf-8", None, "text", "label", "split", "image")


@pytest.mark.parametrize(
    ("source", "found"),
    [("mnist_5k", (1, "")), ("folder:a:b", (2, "a:b")), ("csv:x.csv", (3, "x.csv")), ("tfds:m", (4, "m"))],
)
def test_a_source_and_its_place(source, found):
    assert source_reader(SOURCES, source, "dataset") == found


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "foldr:x",
            "unknown `dataset='foldr:x'` (there are mnist_5k, folder:PATH, csv:PATH, tfds:NAME); did",
        ),
        ("", "unknown `dataset=''`"),
        ("folder:", "`dataset='folder:'` is not complete; write it as folder:PATH"),
        ("tfds", "`dataset='tfds'` is not complete; write it as tfds:NAME"),
        ("mnist_5k:x", "`dataset='mnist_5k:x'` is not complete; write it as mnist_5k"),
        ("photos", "`dataset='photos'` does not say what it is; did you mean 'folder:photos'?"),
        ("x.csv", "`dataset='x.csv'` does not say what it is; did you mean 'csv:x.csv'?"),
        ("x.v2.csv.gz", "`dataset='x.v2.csv.gz'` does not say what it is; did you mean 'csv:x.v2.csv.gz'?"),
        ("x.txt", "`dataset='x.txt'` does not say what it is; write it as one of "),
    ],
)
def test_a_source_that_is_none(tmp_path, monkeypatch, source, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("x.csv", "x.v2.csv.gz", "x.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError) as caught:
        source_reader(SOURCES, source, "dataset")
    assert str(caught.value).startswith(told)


def noise(count: int) -> list[Example]:
    pixels = np.random.default_rng(0).integers(0, 255, (count, 8, 8, 3), np.uint8)
    pictures = tf.io.encode_png(pixels).numpy()
    return [
        Example(picture, f"noise/{number}", ("odd", "even")[number % 2], "train")
        for number, picture in enumerate(pictures)
    ]


def test_new_sources_are_functions_in_the_tables(monkeypatch, tmp_path):
    def images(place, cache, offline):
        return RawExamples(noise(int(place)), warnings=("only noise",))

    def documents(place, table_format, cache, offline):
        return RawExamples([each._replace(item=f"number {each.id}") for each in noise(int(place))])

    def pairs(place, settings):
        return RawExamples(noise(int(place)), texts={each.id: "noise" for each in noise(int(place))})

    monkeypatch.setitem(IMAGE_SOURCES, "noise:COUNT", images)
    monkeypatch.setitem(DOCUMENT_SOURCES, "noise:COUNT", documents)
    monkeypatch.setitem(PAIR_SOURCES, "noise:COUNT", pairs)
    loaded = load_images("noise:40", cache=tmp_path)
    assert (loaded.class_names, "only noise" in loaded.report.warnings) == (("even", "odd"), True)
    assert load_documents("noise:40", cache=tmp_path).class_names == ("even", "odd")
    assert len(load_pairs("noise:40", cache=tmp_path, table_format=COLUMNS).train) == len(loaded.train)
    with pytest.raises(UserError, match="tfds:NAME, hf:NAME, noise:COUNT\\); did you mean 'noise'"):
        load_images("nois:40", cache=tmp_path)


def test_the_help_names_every_source():
    words = help_text().replace(",", " ").replace(".\n", " ").split()
    for source in (*IMAGE_SOURCES, *DOCUMENT_SOURCES, *PAIR_SOURCES):
        assert source in words


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="only Linux has a file that cannot be read so"
)
def test_a_disk_that_does_not_answer_is_told(kind):
    with pytest.raises(
        UserError, match=r"'/proc/self/mem' cannot be read \(Input/output error\); see whether"
    ):
        load_documents(f"{kind}:/proc/self/mem")


def test_a_file_that_has_gone_meanwhile_is_told(tmp_path):
    gone = r"gone.txt' cannot be read \(No such file or directory\)"
    with pytest.raises(UserError, match=gone), permission_errors():
        (tmp_path / "gone.txt").read_text()
    with pytest.raises(BlockingIOError), permission_errors():
        raise BlockingIOError(11, "no matter of reading")
