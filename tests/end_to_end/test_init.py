"""The command `python -m xmodal.init`: what it writes is read back as a run would read it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from xmodal import init

ROOT = Path(__file__).parents[2]


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
        [sys.executable, "-m", "xmodal.init", "photos"], cwd=tmp_path, capture_output=True, text=True
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
        "notes.md": "'notes.md' is no table; give a folder, or a file ending in .csv, .tsv, .jsonl",
        "both.csv": "'both.csv' holds both images and texts; "
        "run --flagfile=experiments/fusion.cfg --pairs=csv:both.csv",
        "there": "'there.cfg' is there already; choose another name, or add --overwrite to replace it",
    }.items():
        assert init.main(["", path]) == 2
        assert capsys.readouterr().err == f"error: {message}\n"
    assert (tmp_path / "there.cfg").read_text() == "mine"
    assert init.main(["", "there", "--overwrite"]) == 0
    assert "--documents=dir:there" in (tmp_path / "there.cfg").read_text()
