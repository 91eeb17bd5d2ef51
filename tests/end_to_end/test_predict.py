"""The command `python -m xmodal.predict`, on exports of tiny models."""

import csv
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_export import ANSWERS

from xmodal import predict
from xmodal.core.sums import write_sums
from xmodal.export import answer_files, predictor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def served(tiny_exported):
    return tiny_exported[0]


@pytest.fixture(scope="module")
def model(tiny_exported, tmp_path_factory):
    """A folder with the versions 1, which cannot be loaded, and 10 of a model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    shutil.copytree(tiny_exported[1], folder / "10")
    (folder / "1").mkdir()
    (folder / "1/saved_model.pb").write_bytes(b"old")
    return folder


@pytest.fixture
def files(tmp_path):
    """A folder of two pictures, one of them deeper down, two texts and something else."""
    rng = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "deep/b.JPG"):
        encode = tf.io.encode_png if name.endswith("png") else tf.io.encode_jpeg
        (tmp_path / name).write_bytes(encode(rng.integers(0, 255, (40, 50, 3), np.uint8)).numpy())
    (tmp_path / "c.txt").write_text("a red cat")
    (tmp_path / "d.txt").write_text("")
    (tmp_path / "notes.md").write_text("not asked")
    return tmp_path


def ask(capsys, *arguments) -> tuple[int, str, str]:
    code = predict.main(["", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_a_folder_as_a_process_and_as_json(model, files):
    done = subprocess.run(
        [sys.executable, "-m", "xmodal.predict", f"--model={model}", "--format=json", str(files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: 1 of 4 items have no answer: {str(files / 'd.txt')!r} is empty; the others are answered; "
        "leave these out"
    )
    answers = json.loads(done.stdout)
    assert [answer["item"] for answer in answers] == [
        str(files / name) for name in ("a.png", "c.txt", "d.txt", "deep/b.JPG")
    ]
    for answer in answers:
        if answer["problem"]:
            continue
        assert set(answer["probabilities"]) == set(ANSWERS)
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["probabilities"][answer["label"]] == pytest.approx(answer["probability"])
    assert answers[0]["read"].startswith("a photo of ")
    assert answers[1]["read"] == ""


def test_answers_are_those_of_the_model(served, model, files):
    image = (files / "a.png").read_bytes()
    items, _ = answer_files.items_of([str(files / "a.png")], ["a red cat"])
    (answer, words) = predictor.Predictor(model)(items)
    # Texts come first, as they are given first.
    assert answer.item == "a red cat"
    for told, expected in (
        (words, served.answer_images(tf.constant([image]))),
        (answer, served.answer_texts(tf.constant(["a red cat"]))),
    ):
        np.testing.assert_allclose(list(told.probabilities.values()), expected["probabilities"][0], atol=1e-5)
        assert told.label == expected["label"][0].numpy().decode()


def test_more_items_than_a_batch_keep_their_order(model, files, monkeypatch):
    monkeypatch.setattr(predictor, "BATCH", 3)
    texts = [f"cat number {number}" for number in range(7)]
    items, _ = answer_files.items_of([str(files / "a.png")], texts)
    assert [answer.item for answer in predictor.Predictor(model)(items)] == [*texts, str(files / "a.png")]


def test_a_table_and_a_file_of_commas(model, files, capsys, tmp_path):
    code, table, _ = ask(capsys, f"--model={model}", "--text=a red, green cat", files / "a.png")
    assert code == 0
    head, *rows = table.splitlines()
    assert head.split() == ["item", "label", "or", "else", "read"]
    assert rows[0].split()[4] in ANSWERS
    assert "a.png  " in rows[1]

    target = tmp_path / "out" / "answers.csv"
    code, told, _ = ask(
        capsys, f"--model={model}", "--text=a red, green cat", "--format=csv", f"--output={target}"
    )
    assert (code, told) == (0, "")
    (row,) = csv.DictReader(io.StringIO(target.read_text()))
    assert row["item"] == "a red, green cat"
    assert float(row["probability"]) == max(float(row[name]) for name in ANSWERS)


def test_answers_are_replaced_by_answers_alone(model, capsys, tmp_path):
    target = tmp_path / "answers"
    command = (f"--model={model}", "--text=a red, green cat", f"--output={target}")
    forms = ("csv", "json", "table", "csv")
    assert [ask(capsys, *command, f"--format={form}")[0] for form in forms] == [0, 0, 0, 0]
    for foreign in ("root:x:0:0:root:/root:/bin/bash\n", "item,label\n", "[]\n"):
        target.write_text(foreign)
        code, _, told = ask(capsys, *command)
        assert (code, target.read_text()) == (2, foreign)
        assert told.endswith(
            "answers' is there already; choose another name, or add --overwrite to replace it\n"
        )
    assert ask(capsys, *command, "--overwrite")[0] == 0
    assert target.read_text().startswith("item ")


def test_a_picture_that_is_no_sheet_stays(model, files, capsys, tmp_path):
    photograph = (files / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(photograph)
    code, _, told = ask(capsys, f"--model={model}", f"--sheet={tmp_path / 'a.png'}", tmp_path / "a.png")
    assert (code, "is there already" in told) == (2, True)
    assert (tmp_path / "a.png").read_bytes() == photograph


def test_a_sheet_of_the_pictures(model, files, capsys, tmp_path, monkeypatch):
    sheet = tmp_path / "out" / "sheet.png"
    code, told, _ = ask(capsys, f"--model={model}", f"--sheet={sheet}", "--text=a cat", files / "a.png")
    assert (code, len(told.splitlines())) == (0, 3)
    one = tf.io.decode_png(sheet.read_bytes()).shape
    # A second row, and no more pictures than a sheet has room for.
    monkeypatch.setattr(answer_files, "COLUMNS", 1)
    monkeypatch.setattr(answer_files, "SHOWN", 2)
    pictures = [files / "a.png", files / "deep", files / "a.png"]
    code, _, told = ask(capsys, f"--model={model}", f"--sheet={sheet}", *pictures)
    assert code == 0
    assert told == f"{sheet} has the first 2 of 3 pictures\n"
    assert tf.io.decode_png(sheet.read_bytes()).shape[0] == 2 * one[0]

    sheet.unlink()
    code, _, told = ask(capsys, f"--model={model}", f"--sheet={sheet}", "--text=a cat")
    assert (code, sheet.exists()) == (2, False)
    assert told == "error: there is no picture with an answer for --sheet; give pictures, or leave it out\n"


def test_every_line_of_the_standard_input_has_its_answer(model, capsys, monkeypatch):
    lines = io.BytesIO(b"one cat\n\ntwo dogs\r\none cat\ncaf\xe9\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(lines, "utf-8"))
    code, told, error = ask(capsys, f"--model={model}", "--format=json", "-")
    answers = json.loads(told)
    # A blank one keeps its place, and is no failure.
    assert [answer["item"] for answer in answers] == ["one cat", "", "two dogs", "one cat", "caf\ufffd"]
    assert answers[1]["problem"] == "a blank line"
    first, again = answers[0], answers[3]
    assert again["label"] == first["label"]
    assert again["probabilities"] == pytest.approx(first["probabilities"], abs=1e-6)
    assert answers[4]["problem"] == "no UTF-8 at byte 3"
    assert (code, error.startswith("error: 1 of 5 items have no answer")) == (2, True)


def test_what_cannot_be_read_does_not_stop_the_rest(model, files, capsys):
    (files / "a.png").write_bytes(b"no picture")
    (files / "c.txt").write_bytes(b"caf\xe9")
    (files / "d.txt").unlink()
    code, told, error = ask(capsys, f"--model={model}", "--format=csv", files)
    problems = [row["problem"] for row in csv.DictReader(io.StringIO(told))]
    assert (code, problems) == (2, ["not an image", "no UTF-8 at byte 3", ""])
    assert error.splitlines()[1].startswith("error: 2 of 3 items have no answer")


def test_a_folder_is_read_as_training_reads_it(model, files, capsys):
    heads = {"e.tiff": b"II*\0", "f.HEIC": b"\0\0\0\x18ftypheic", "g": b"\0\0\0\x18ftypavif"}
    for name, head in heads.items():
        (files / name).write_bytes(head + bytes(60))
    (files / "deep" / "h.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\x02" + bytes(20))
    (files / "._000.png").write_bytes(b"\0\5\x16\7")
    (files / "d.txt").write_text("a dog")
    (files / "lost.png").symlink_to("nowhere")
    (files / "__MACOSX").mkdir()
    (files / "__MACOSX" / "a.png").write_bytes(b"")
    (files / "linked").symlink_to("deep")
    (files / "deep" / "round").symlink_to("..")
    os.mkfifo(files / "pipe.png")
    code, told, error = ask(capsys, f"--model={model}", "--format=json", files)
    answers = {str(Path(row["item"]).relative_to(files)): row["problem"] for row in json.loads(told)}
    assert answers == {
        "a.png": "",
        "c.txt": "",
        "d.txt": "",
        "deep/b.JPG": "",
        "deep/h.webp": "truncated or corrupt WebP",
        "e.tiff": "TIFF, which is not read: convert it to JPEG or PNG",
        "f.HEIC": "HEIC, which is not read: convert it to JPEG or PNG",
        "g": "AVIF, which is not read: convert it to JPEG or PNG",
        "lost.png": "not readable: No such file or directory",
    }
    assert code == 2
    assert error.splitlines()[:-1] == [
        "warning: files in folders that systems and programs make, which are not read: 1 (1 .png), such as "
        "'__MACOSX/a.png'",
        "warning: pipes, sockets and devices, which are not read: 1 (1 .png), such as 'pipe.png'",
        "warning: links to folders that are read already, which are not followed: 2 (2 no ending), such as "
        "'linked'",
        "warning: files that are neither images nor .txt, which are not read: 1 (1 .md), such as 'notes.md'",
    ]


def test_a_table_gets_columns(model, files, capsys, tmp_path):
    (tmp_path / "reviews.csv").write_text('stars,text,label\n5,"a red, green cat",x\n1,a dog,y\n')
    code, told, _ = ask(capsys, f"--model={model}", tmp_path / "reviews.csv")
    rows = list(csv.DictReader(io.StringIO(told)))
    assert code == 0
    assert [(row["stars"], row["text"], row["label"]) for row in rows] == [
        ("5", "a red, green cat", "x"),
        ("1", "a dog", "y"),
    ]
    assert [row["item"] for row in rows] == ["reviews.csv:2", "reviews.csv:3"]
    for row in rows:
        shares = {name: float(row[f"probability:{name}"]) for name in ANSWERS}
        assert shares[row["predicted_label"]] == max(shares.values()) == float(row["predicted_probability"])
    _, alone, _ = ask(capsys, f"--model={model}", "--format=json", "--text=a dog")
    assert json.loads(alone)[0]["label"] == rows[1]["predicted_label"]
    # What it writes it may replace; what others wrote it may not.
    target = tmp_path / "answers.csv"
    command = (f"--model={model}", tmp_path / "reviews.csv", f"--output={target}")
    assert [ask(capsys, *command)[0] for _ in range(2)] == [0, 0]
    assert ask(capsys, *command[:-1], f"--output={tmp_path / 'reviews.csv'}")[0] == 2


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("t.tsv", "words\tid\nein Hund für\t7\n".encode("latin-1"), ["--fallback_encoding=latin-1"]),
        ("t.csv", "id,words\n7,猫\n".encode("gb18030"), ["--encoding=gb18030"]),
        ("t.jsonl", b'{"words": "a cat", "id": "7"}\n', []),
        ("t.csv.gz", gzip.compress(b"words,id\na cat,7\n", mtime=0), []),
    ],
)
def test_tables_are_read_as_training_reads_them(model, capsys, tmp_path, name, content, options):
    (tmp_path / name).write_bytes(content)
    code, told, _ = ask(capsys, f"--model={model}", "--text_column=words", *options, tmp_path / name)
    (row,) = csv.DictReader(io.StringIO(told))
    assert (code, row["predicted_label"] in ANSWERS) == (0, True)
    assert row.get("id", "7") == "7"


def test_a_table_of_pictures(model, files, capsys):
    (files / "seen.csv").write_text("image,place\na.png,1\nmissing.png,2\ndeep/b.JPG,3\n")
    code, told, _ = ask(capsys, f"--model={model}", files / "seen.csv")
    problems = [row["problem"] for row in csv.DictReader(io.StringIO(told))]
    assert (code, problems) == (2, ["", "not readable: No such file or directory", ""])


def test_pairs_are_answered_together(served, model, files, capsys):
    pairs = "text,image,id\na red cat,a.png,1\n,a.png,2\na red cat,,3\n,,4\na dog,missing.png,5\n"
    (files / "pairs.csv").write_text(pairs)
    command = (f"--model={model}", "--pair", files / "a.png", "a red cat", files / "pairs.csv")
    code, told, _ = ask(capsys, *command, "--format=json")
    answers = json.loads(told)
    image = (files / "a.png").read_bytes()
    asked = [(image, b"a red cat"), (image, b"a red cat"), (image, b""), (b"", b"a red cat")]
    images, texts = map(list, zip(*asked, strict=True))
    expected = served.answer_pairs(tf.constant(images), tf.constant(texts))["probabilities"]
    for answer, shares in zip(answers, expected.numpy(), strict=False):
        np.testing.assert_allclose(list(answer["probabilities"].values()), shares, atol=1e-5)
    assert (code, [answer["problem"] for answer in answers[4:]]) == (
        2,
        ["neither a picture nor a text", "not readable: No such file or directory"],
    )


def test_a_model_of_one_side_takes_its_side_of_a_pair(model, files):
    (files / "pairs.csv").write_text("text,image\na red cat,http://nowhere/a.png\na dog,a.png\n")
    items, _ = answer_files.items_of([str(files / "pairs.csv")])
    asked = predictor.Predictor(model)
    both = [*asked(items)]
    assert [bool(answer.problem) for answer in both] == [True, False]
    asked.answer_pairs = None
    alone = [answer.probabilities for answer in asked(items)]
    texts = asked([predictor.Item("", b"a red cat", True), predictor.Item("", b"a dog", True)])
    assert alone == [answer.probabilities for answer in texts]
    asked.answer_texts = None
    (picture,) = asked(items[1:])
    (expected,) = asked([predictor.Item("", (files / "a.png").read_bytes(), False)])
    assert picture.probabilities == expected.probabilities


def test_texts_in_other_encodings(model, capsys, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes("ein Hund für".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfa dog")
    lines = io.BytesIO("für\n".encode("latin-1"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(lines, "utf-8"))
    options = ("--fallback_encoding=latin-1", "--format=json", f"--model={model}")
    code, told, _ = ask(capsys, *options, tmp_path, "-")
    assert (code, [answer["problem"] for answer in json.loads(told)]) == (0, ["", "", ""])
    assert json.loads(told)[2]["item"] == "für"
    assert "--encoding=utf-9 is not known" in ask(capsys, *options, "--encoding=utf-9", tmp_path)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to answer; give files, folders or --text"),
        (["--text=a", "--model={tmp}"], "holds no model; give the folder of an export"),
        (["missing.png"], "'missing.png' cannot be read (No such file or directory); check its path"),
    ],
    ids=["nothing", "no model", "no file"],
)
def test_mistakes_are_one_line(model, arguments, message, tmp_path, capsys):
    arguments = [f"--model={model}", *(argument.format(tmp=tmp_path) for argument in arguments)]
    code, _, error = ask(capsys, *arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


def test_models_of_others_are_refused(tmp_path, capsys):
    module = tf.Module()
    module.call = tf.function(
        lambda text: {"label": text}, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.call})
    code, _, error = ask(capsys, f"--model={tmp_path}", "--text=a")
    assert code == 2
    assert "has no SHA256SUMS: no run, or an old one, left it; export the model again" in error
    write_sums(tmp_path / "1")
    code, _, error = ask(capsys, f"--model={tmp_path}", "--text=a")
    assert code == 2
    assert "has no signature 'labels': xmodal did not export it; give a folder of saved_models/" in error
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"broken")
    code, _, error = ask(capsys, f"--model={tmp_path}", "--text=a")
    assert code == 2
    assert "saved_model.pb' was changed; export the model again" in error
    write_sums(tmp_path / "1")
    code, _, error = ask(capsys, f"--model={tmp_path}", "--text=a")
    assert code == 2
    assert "cannot be loaded (" in error


def test_cells_that_a_spreadsheet_would_compute_are_quoted():
    names = ("=1+1", "-5", "+a", "ok")
    text = '=HYPERLINK("http://example.com")'
    answers = [
        predictor.Answer(text, "@a", 0.5, "-cmd|' /c calc'!A0", dict.fromkeys(names, 0.25)),
        predictor.Answer("\tplain", "\uff1d1", 1e-7, "\r=1", {}),
        predictor.Answer("+4.5", problem="empty"),
    ]
    head, first, second, third = csv.reader(io.StringIO(answer_files.as_csv(answers)))
    assert head == ["item", "label", "probability", "read", "problem", "'=1+1", "-5", "'+a", "ok"]
    assert first == [f"'{text}", "'@a", "0.5", "'-cmd|' /c calc'!A0", "", *["0.25"] * 4]
    assert second[:4] == ["'\tplain", "'\uff1d1", "1e-07", "\\u000d=1"]
    assert third[:5] == ["+4.5", "", "", "", "empty"]


def test_names_that_are_not_utf_8_or_steer_the_terminal_are_told_escaped(tmp_path):
    name = os.fsdecode(b"caf\xe9\x1b[2J\xc2\x9b.png")
    answers = [predictor.Answer(name, "\u202ecat", 0.5, "", {"\u202ecat": 0.5})]
    (told,) = json.loads(answer_files.as_json(answers))
    assert told["item"] == name
    for text in (answer_files.as_json(answers), answer_files.as_csv(answers)):
        assert "caf\\udce9\\u001b[2J\\u009b.png" in text
        assert "\\u202ecat" in text
        text.encode()
    assert "\x1b" not in answer_files.as_table(answers)


def test_an_argument_that_is_not_utf_8_is_an_item_without_an_answer():
    (item,), _ = answer_files.items_of([], [os.fsdecode(b"caf\xe9")])
    assert item.content == b"caf\xe9"


def test_what_is_promised_is_told_in_every_format():
    plain = predictor.Answer("a.png", "cat", 0.9, "a photo of a cat", {"cat": 0.9, "dog": 0.1})
    limited = predictor.Answer(
        "b.png",
        "dog",
        0.6,
        "a photo of a dog",
        {"cat": 0.4, "dog": 0.6},
        answers=("dog", "cat"),
        certainty=0.5,
        unknown=0.25,
        verdict="a dog or a cat",
    )
    (told,) = json.loads(answer_files.as_json([limited]))
    assert [told[name] for name in answer_files.LIMITS] == [["dog", "cat"], 0.5, 0.25, "a dog or a cat"]
    head, *rows = csv.reader(io.StringIO(answer_files.as_csv([limited, plain])))
    assert head == ["item", "label", "probability", "read", "problem", *answer_files.LIMITS, "cat", "dog"]
    assert [row[5:9] for row in rows] == [["dog | cat", "0.5", "0.25", "a dog or a cat"], [""] * 4]
    first, second = answer_files.as_table([limited]).splitlines()
    assert first.split()[-3:] == ["verdict", "unknown", "read"]
    assert [cell.strip() for cell in second.split("  ") if cell.strip()][-3:] == [
        "a dog or a cat",
        "25%",
        "a photo of a dog",
    ]
    # An export that promises nothing is told as before.
    assert "verdict" not in answer_files.as_csv([plain]) + answer_files.as_table([plain])
