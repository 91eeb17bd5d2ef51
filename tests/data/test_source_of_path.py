"""What is read from a path alone: which source it is, and that an empty one is none."""

from pathlib import Path

import pytest

from xmodal.core.command import Parser
from xmodal.core.errors import UserError
from xmodal.data.source_of_path import source_of


@pytest.mark.parametrize(
    ("name", "heading", "source", "documents"),
    [
        ("t.csv", "text,label", "csv", True),
        ("t.csv", "Text;Label", "csv", True),
        ("t.csv", "Image;Label", "csv", False),
        ("t.csv", "label| IMAGE ", "csv", False),
        ("t.tsv", "image\tlabel", "csv", False),
        ("t.tsv", "text\tlabel", "tsv", True),
        ("t.jsonl", '{"text": "a", "label": 1}', "jsonl", True),
    ],
)
def test_tables_are_known_by_their_columns(tmp_path, name, heading, source, documents):
    path = tmp_path / name
    path.write_text(heading + "\n")
    assert source_of(path) == (f"{source}:{path}", documents)


@pytest.mark.parametrize("name", ["TRAIN.CSV", "train.csv.gz", "訓練集.csv", "train-00000-of-00001.csv"])
def test_a_folder_of_tables_is_read_as_these(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "test.csv").write_bytes(b"")
    assert source_of(tmp_path) == (f"csv:{tmp_path}", True)


def test_tables_of_which_something_else_can_be_made(tmp_path):
    pairs, images = tmp_path / "pairs.csv", tmp_path / "images.jsonl"
    pairs.write_text("IMAGE;Text;Label\n")
    images.write_text('{"image": "a.png", "label": 1}\n')
    with pytest.raises(UserError, match=r"holds both images and texts; run .*fusion.cfg` `pairs=csv:"):
        source_of(pairs)
    with pytest.raises(UserError, match="holds images; save it as CSV"):
        source_of(images)


def test_an_empty_path_is_none():
    parser = Parser("xmodal.init", None)
    parser.add_argument("path", type=Path)
    assert parser.parse_args(["a/b"]).path == Path("a/b")
    with pytest.raises(UserError, match="argument path: the path is empty"):
        parser.parse_args([""])
