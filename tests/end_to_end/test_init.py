"""The command `python -m xmodal.init`: what it writes is read back as a run would read it."""

import gzip
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import tensorflow as tf
import warm_python
from pyarrow import parquet
from tiny_sounds import save_tiny_sounds
from tiny_videos import save_tiny_videos

from xmodal import init
from xmodal.core.errors import UserError
from xmodal.data.document_sources import read_documents
from xmodal.data.image_sources import read_images

ROOT = Path(__file__).parents[2]
ENDINGS = ".csv, .tsv, .jsonl, .json, .parquet, .arrow, .xlsx"


def pictures(folder: Path, classes: dict[str, int], side: int) -> Path:
    rng = np.random.default_rng(0)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (side, side + 20, 3), dtype=np.uint8)
            (folder / name / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


def texts(folder: Path, classes: dict[str, int], words: str) -> Path:
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.txt").write_text(f"{words} {name} {number}")
    return folder


def written(path: Path, cwd: Path, monkeypatch) -> list[str]:
    monkeypatch.chdir(cwd)
    assert init.main(["", str(path)]) == 0
    return (cwd / f"{path.stem}.cfg").read_text().splitlines()


def test_a_run_understands_what_the_command_writes(tmp_path):
    folder = pictures(tmp_path / "photos", {"cat": 12, "dog": 30}, 70)
    (folder / "cat" / "broken.png").write_bytes(b"no picture")
    done = subprocess.run(
        [warm_python.path(), "-m", "xmodal.init", "photos"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "warning: 1 of 43 images cannot be read" in done.stdout
    assert done.stdout.endswith("next:\n  python -m xmodal.run --flagfile=photos.cfg\n")
    script = (
        "from xmodal.config import flags\n"
        "flags.parse(['', '--flagfile=photos.cfg'])\n"
        "settings = flags.from_flags()\n"
        "print(settings.data.dataset, settings.data.image_size, settings.image.trainable)"
    )
    read = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert read.stdout == "folder:photos 64 head\n", read.stderr


@pytest.mark.parametrize(
    ("classes", "side", "flags"),
    [
        ({"cat": 3, "dog": 3}, 300, {"--image_size=96", "--augment=flip,shift", "--trainable=head"}),
        ({"0": 300, "1": 310}, 10, {"--image_size=32", "--augment=shift,rotate,zoom", "--trainable=block4"}),
        ({"a": 1, "b": 9}, 40, {"--image_size=32", "--min_per_class=1"}),
    ],
    ids=["photographs", "digits", "rare"],
)
def test_pictures(classes, side, flags, tmp_path, monkeypatch):
    folder = pictures(tmp_path / "data", classes, side)
    lines = written(folder, tmp_path, monkeypatch)
    assert {"--experiment=vgg_to_bert", f"--dataset=folder:{folder}", *flags} <= set(lines)


@pytest.mark.parametrize(
    ("classes", "words", "flags", "absent"),
    [
        (
            {"wheat": 12, "oil": 20},
            "prices of the month " * 15,
            {"--text_encoder=minilm_l6", "--sequence_length=128", "--text_epochs=8", "--per_class=all"},
            "--class_weights=balanced",
        ),
        (
            {"1": 5, "2": 90},
            "\u5317\u4eac\u7684\u5929\u6c14\u5f88\u597d " * 5,
            {"--text_encoder=multilingual_e5_small", "--clip_norm=1", "--class_weights=balanced"},
            "--text_trainable=all",
        ),
    ],
    ids=["English", "Chinese"],
)
def test_texts(classes, words, flags, absent, tmp_path, monkeypatch):
    lines = written(texts(tmp_path / "letters", classes, words), tmp_path, monkeypatch)
    assert {"--experiment=bert_news", f"--documents=dir:{tmp_path / 'letters'}", *flags} <= set(lines)
    assert absent not in lines


def test_tables(tmp_path, monkeypatch):
    reviews, seen = tmp_path / "reviews.csv", tmp_path / "seen.csv"
    reviews.write_text("text,label\n" + "".join(f"good {n},yes\nbad {n},no\n" for n in range(20)))
    assert f"--documents=csv:{reviews}" in written(reviews, tmp_path, monkeypatch)
    pictures(tmp_path / "files", {"cat": 10, "dog": 10}, 40)
    rows = "".join(f"files/{name}/{n}.png,{name}\n" for name in ("cat", "dog") for n in range(10))
    seen.write_text("image,label\n" + rows)
    assert f"--dataset=csv:{seen}" in written(seen, tmp_path, monkeypatch)


def test_sounds(tmp_path, monkeypatch):
    save_tiny_sounds(tmp_path / "said")
    lines = written(tmp_path / "said", tmp_path, monkeypatch)
    flags = {"--sound_rate=8000", "--sound_seconds=2", "--image_size=64", "--augment=shift,speed,pitch"}
    assert {"--experiment=vgg_to_bert", f"--dataset=sounds:{tmp_path / 'said'}", *flags} <= set(lines)
    assert any("--group_pattern finds who" in line for line in lines)
    assert init.main(["", str(tmp_path / "said"), r"--group_pattern=(speaker\d)", "--overwrite"]) == 0
    lines = (tmp_path / "said.cfg").read_text().splitlines()
    assert r"--group_pattern=(speaker\d)" in lines
    assert not any("finds who" in line for line in lines)
    assert "--trainable=block4" in lines
    # As if they were shorter.
    monkeypatch.setattr(init, "SECONDS", (1.0,))
    assert init.main(["", str(tmp_path / "said"), r"--group_pattern=(speaker\d)", "--overwrite"]) == 0
    lines = (tmp_path / "said.cfg").read_text().splitlines()
    assert {"--image_size=32", "--trainable=head", "--features=block2_pool", "--dropout=0.8"} <= set(lines)


def test_videos(tmp_path, monkeypatch):
    save_tiny_videos(tmp_path / "moving")
    lines = written(tmp_path / "moving", tmp_path, monkeypatch)
    flags = {"--frames=8", "--image_size=32", "--augment=flip,shift", "--template=a video of {}"}
    assert {"--experiment=vgg_to_bert", f"--dataset=videos:{tmp_path / 'moving'}", *flags} <= set(lines)


def test_a_table_may_name_sounds(tmp_path, monkeypatch):
    save_tiny_sounds(tmp_path / "said")
    files = sorted((tmp_path / "said").rglob("*_[0-9]*.wav"))
    rows = "".join(f"{file.relative_to(tmp_path)},{file.parent.name}\n" for file in files)
    (tmp_path / "heard.csv").write_text("audio,label\n" + rows)
    lines = written(tmp_path / "heard.csv", tmp_path, monkeypatch)
    assert {f"--dataset=csv:{tmp_path / 'heard.csv'}", "--sound_rate=8000"} <= set(lines)


def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("")
    (tmp_path / "there.cfg").write_text("mine")
    (tmp_path / "both.csv").write_text("image,text,label\n")
    texts(tmp_path / "there", {"a": 9, "b": 9}, "some words")
    for path, message in {
        "nowhere": "'nowhere' does not exist; give a folder or a table",
        "empty": "the folder 'empty' holds no files; put pictures or .txt files in it",
        "notes.md": f"'notes.md' is no table; give a folder, or a file ending in {ENDINGS}",
        "both.csv": "'both.csv' holds both images and texts; "
        "run python -m xmodal.run --flagfile=experiments/fusion.cfg --pairs=csv:both.csv",
        "there": "'there.cfg' is there already; choose another name, or add --overwrite to replace it",
    }.items():
        assert init.main(["", path]) == 2
        assert capsys.readouterr().err == f"error: {message}\n"
    assert (tmp_path / "there.cfg").read_text() == "mine"
    assert init.main(["", "there", "--overwrite"]) == 0
    assert "--documents=dir:there" in (tmp_path / "there.cfg").read_text()


def asked(capsys, *arguments: str) -> tuple[int, str, str]:
    code = init.main(["", *arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("path", "name"),
    [("..", "my-photos-v1.2"), ("../", "my-photos-v1.2"), ("../../other", "other"), (".", "cat")],
)
def test_the_name_is_that_of_the_folder(path, name, tmp_path, monkeypatch, capsys):
    folder = pictures(tmp_path / "my photos, v1.2", {"cat": 9, "dog": 9}, 40)
    pictures(tmp_path / "other", {"cat": 9, "dog": 9}, 40)
    pictures(folder / "cat", {"black": 9, "white": 9}, 40)
    monkeypatch.chdir(folder / "cat")
    code, _, _ = asked(capsys, path, f"--output={tmp_path / 'a.cfg'}")
    lines = (tmp_path / "a.cfg").read_text().splitlines()
    assert code == 0
    assert {f"--output_dir=runs/{name}", f"--dataset=folder:{Path(path)}"} < {*lines}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photos.v2", "photos.v2.cfg"),
        ("reviews.2024.csv", "reviews.2024.cfg"),
        ("reviews.csv.gz", "reviews.cfg"),
        ("reviews.jsonl", "reviews.cfg"),
        ("reviews.json.gz", "reviews.cfg"),
        ("reviews.parquet", "reviews.cfg"),
        ("a b.tsv", "a-b.cfg"),
        (".hidden", "hidden.cfg"),
    ],
)
def test_names_with_dots(name, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [(f"good {number}", "yes") for number in range(9)] + [(f"bad {n}", "no") for n in range(9)]
    separator = "\t" if name.endswith("tsv") else ","
    table = "\n".join(separator.join(row) for row in [("text", "label"), *rows]).encode()
    if "csv" in name or "tsv" in name:
        (tmp_path / name).write_bytes(gzip.compress(table) if name.endswith("gz") else table)
    elif name.endswith(".json.gz"):
        objects = [{"text": text, "label": label} for text, label in rows]
        (tmp_path / name).write_bytes(gzip.compress(json.dumps(objects).encode()))
    elif name.endswith(".parquet"):
        parquet.write_table(
            pyarrow.table(dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))), tmp_path / name
        )
    elif "jsonl" in name:
        lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
        (tmp_path / name).write_text("\n".join(lines))
    else:
        texts(tmp_path / name, {"a": 9, "b": 9}, "some words")
    assert init.main(["", name]) == 0
    assert "--experiment=bert_news" in (tmp_path / expected).read_text()


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.ODS", "save it as CSV in UTF-8 in the program that made it"),
        ("a.ndjson", "give the file a name that ends in .jsonl"),
        ("a.zip", "unpack it, and give the folder"),
        ("a.tar.gz", "unpack it, and give the folder"),
        ("a", f"give a folder, or a file ending in {ENDINGS}"),
    ],
)
def test_files_of_other_kinds(name, advice, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"PK")
    assert asked(capsys, name) == (2, "", f"error: {name!r} is no table; {advice}\n")
    for read, flag in ((read_images, "dataset"), (partial(read_documents, table_format=None), "documents")):
        with pytest.raises(UserError, match=f"`{flag}='{name}'` does not say what it is") as refused:
            read(name, cache=tmp_path, offline=True)
        assert refused.value.remedy == advice or name == "a"
        assert "did you mean" not in refused.value.remedy


def test_what_its_messages_advise_is_taken_and_written_down(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{n},sch\u00f6n {n},gut\n{n},schlecht {n},b\u00f6se\n" for n in range(9))
    (tmp_path / "t.csv").write_bytes(f"id,body,verdict\n{rows}".encode("latin-1"))
    code, _, error = asked(capsys, "t.csv")
    assert (code, "--fallback_encoding" in error) == (2, True)
    code, _, error = asked(capsys, "t.csv", "--fallback_encoding=latin-1")
    assert (code, "--text_column and --label_column" in error) == (2, True)
    flags = ["--fallback_encoding=latin-1", "--text_column=body", "--label_column=verdict"]
    assert asked(capsys, "t.csv", *flags)[0] == 0
    assert {*flags} < {*(tmp_path / "t.cfg").read_text().splitlines()}
    pictures(tmp_path / "photos", {"cat": 9, "dog": 9}, 40)
    code, _, error = asked(capsys, "photos", "--encoding=latin-1")
    assert error == "error: --encoding is for texts, and 'folder:photos' holds none; leave it out\n"
    assert asked(capsys, "photos", "--class_names=chat,chien", "--min_per_class=x")[0] == 2
    assert asked(capsys, "photos", "--class_names=chat,chien")[0] == 0
    assert "--class_names=chat,chien" in (tmp_path / "photos.cfg").read_text()


@pytest.mark.parametrize("classes", [{"cat": 1, "dog": 1}, {"cat": 2, "dog": 1}, {"a": 1, "b": 1, "c": 1}])
def test_too_few_pictures_are_told_before_a_flagfile_is_written(classes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "few", classes, 40)
    code, _, error = asked(capsys, "few")
    assert (code, error.count("\n"), "can be cut from train" in error) == (2, 1, True)
    assert not (tmp_path / "few.cfg").exists()


def test_folders_of_other_things(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.ods").write_bytes(b"PK")
    code, _, error = asked(capsys, "tables")
    assert error == (
        "error: the folder 'tables' holds neither pictures nor .txt files (files of other kinds: 1 "
        "(1 .ods), such as 'a.ods'); save it as CSV in UTF-8 in the program that made it\n"
    )
    # Captions beside pictures make no documents of them.
    folder = pictures(tmp_path / "captioned", {"cat": 9, "dog": 9}, 40)
    for image in folder.glob("*/*.png"):
        image.with_suffix(".txt").write_text("a caption")
    assert asked(capsys, "captioned")[0] == 0
    assert "--dataset=folder:captioned" in (tmp_path / "captioned.cfg").read_text()
    odd = texts(tmp_path / os.fsdecode(b"caf\xe9"), {"a": 9, "b": 9}, "words")
    code, _, error = asked(capsys, str(odd))
    assert (code, "is not in UTF-8" in error) == (2, True)


@pytest.mark.parametrize("names", ["猫 狗", "кот dog", "cat 말", "แมว หมา"])
def test_the_encoder_reads_the_script_of_the_names_of_pictures(names):
    from xmodal.init import _reader_of_sentences

    assert "--text_encoder=multilingual_e5_small" in _reader_of_sentences(names.split()).flags
    assert (
        "--text_encoder=multilingual_e5_small" not in _reader_of_sentences(["chat", "épée", "0", "_"]).flags
    )
