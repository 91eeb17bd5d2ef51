"""The whole experiment on few coloured squares, and both commands that use what it leaves."""

import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from as_served import as_served
from in_process import run_here
from pages import call, commands
from tiny_bert import save_tiny_bert
from tiny_export import tiny_listener
from tiny_sounds import tone, wav

from xmodal import paint, search
from xmodal.export.predictor import Predictor
from xmodal.export.saved_model import export_saved_model
from xmodal.report.markup import text as escaped

COLOURS = {"red": 0, "green": 1, "blue": 2}
FLAGS = [
    "--experiment=text_to_image",
    "--dataset=folder:squares",
    "--text_encoder=./bert",
    "--sequence_length=24",
    "--image_size=32",
    "--base=small_cnn",
    "--image_weights=none",
    "--epochs=1",
    "--head_epochs=6",
    "--head_learning_rate=1e-2",
    "--batch_size=16",
    "--generator_widths=16",
    "--generator_patch=4",
    "--generator_epochs=3",
    "--generator_batch_size=16",
    "--sampling_steps=2",
    "--drawn=9",
    "--min_per_class=2",
    "--offline",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 45 squares of three colours, and one file that is none."""
    random = np.random.default_rng(0)
    cwd = tmp_path_factory.mktemp("text_to_image")
    for name, channel in COLOURS.items():
        (cwd / "squares" / name).mkdir(parents=True)
        for number in range(15):
            pixels = random.integers(0, 60, (32, 32, 3))
            pixels[..., channel] += 190
            png = tf.io.encode_png(pixels.astype(np.uint8)).numpy()
            (cwd / "squares" / name / f"{number}.png").write_bytes(png)
    (cwd / "squares/red/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    save_tiny_bert(cwd / "bert")
    return cwd


def command(module, *words, cwd):
    return subprocess.run(
        [warm_python.path(), "-m", f"xmodal.{module}", *words], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def finished(folder):
    process = command("run", *FLAGS, cwd=folder)
    assert process.returncode == 0, process.stderr
    return folder


def metrics(folder):
    return json.loads((folder / "runs/text_to_image/metrics.json").read_text())


def test_both_directions_are_measured(finished):
    told = metrics(finished)
    assert list(told["results"]) == [
        "judge",
        "image_to_text",
        "image_by_text",
        "text_to_image",
        "text_to_image_unseen",
    ]
    assert told["results"]["judge"]["accuracy"] > 0.6
    assert told["results"]["image_by_text"]["accuracy"] > 0.6
    assert told["results"]["text_to_image_unseen"]["n"] == 9
    directions, retrieval, wordings, distances = told["tables"]
    assert [row[0] for row in directions["rows"]][2:4] == [
        "text -> image -> label, learned wordings",
        "text -> image -> label, unseen wordings",
    ]
    assert [row[0] for row in retrieval["rows"]] == [
        "learned wordings -> images",
        "images -> learned wordings",
        "unseen wordings -> images",
        "images -> unseen wordings",
    ]
    assert sum(row[2] for row in wordings["rows"]) == 9
    real, *drawn, noise = (row[1] for row in distances["rows"])
    assert real < min(drawn)
    assert real < noise
    page = (finished / "runs/text_to_image/report.html").read_text()
    for table in told["tables"]:
        assert escaped(table["caption"]) in page


def test_what_cannot_be_read_is_counted(finished):
    (dropped,) = metrics(finished)["data"]["dropped"]
    assert dropped[0] == "red/broken.png"


def test_the_export_is_that_of_the_model_in_memory(finished):
    facts = metrics(finished)["facts"]
    for signature in ("embed_text", "embed_image"):
        assert facts[f"export: largest difference, {signature}"] < 1e-4
    assert facts["export"] == "saved_models/text_to_image_index/1"
    assert facts["milliseconds to search 50,000 pictures"] > 0


def test_the_index_is_searched(finished):
    process = command(
        "search",
        "--index=saved_models/text_to_image_index/1",
        "--top_k=3",
        "show me a red",
        "blue",
        cwd=finished,
    )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0] == "show me a red"
    assert lines[1].split() == ["rank", "cosine", "class", "picture"]
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]
    cosines = [float(line.split()[1]) for line in lines[2:5]]
    assert cosines == sorted(cosines, reverse=True)
    assert all(line.split()[3].startswith(f"{line.split()[2]}/") for line in lines[2:5])
    assert lines[-1].startswith("9 pictures searched in ")
    assert tf.io.decode_png((finished / "search.png").read_bytes()).shape[-1] == 3


def test_pictures_are_drawn_from_words(finished):
    words = ["--model=saved_models/text_to_image_generator/1", "--count=2", "a red", "something blue"]
    process = command("paint", *words, cwd=finished)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "painted.png"
    first = (finished / "painted.png").read_bytes()
    assert tf.io.decode_png(first).shape[-1] == 3
    # In this process: the same words and seed give the same sheet.
    again, other = finished / "again.png", finished / "other.png"
    model = f"--model={finished}/saved_models/text_to_image_generator/1"
    for output, seed in ((again, 0), (other, 1)):
        assert paint.main(["paint", model, *words[1:], f"--output={output}", f"--seed={seed}"]) == 0
    assert again.read_bytes() == first
    assert other.read_bytes() != first


@pytest.mark.slow
def test_what_is_heard_is_drawn_and_looked_for(finished, tmp_path, capsys):
    listener = export_saved_model(tiny_listener(tmp_path / "preset"), tmp_path / "listener")
    sound, other = tmp_path / "one.wav", tmp_path / "two.wav"
    sound.write_bytes(wav(tone(1500)))
    other.write_bytes(b"no sound")
    said = next(Predictor(listener)([sound.read_bytes()])).read.partition(" | ")[0]
    audio, models = [f"--audio={sound}", f"--listener={listener}"], finished / "saved_models"
    sheets = []
    for number, asked in enumerate((audio, [said])):
        for command, model in (
            (paint, f"--model={models}/text_to_image_generator/1"),
            (search, f"--index={models}/text_to_image_index/1"),
        ):
            sheet = tmp_path / f"{number}_{command.__name__}.png"
            assert command.main(["", model, *asked, f"--output={sheet}"]) == 0
            sheets.append(sheet.read_bytes())
    assert f"{sound}: {said}\n" in capsys.readouterr().out
    assert sheets[:2] == sheets[2:]
    assert paint.main(["", "--model=nowhere", f"--audio={other}", audio[1]]) == 2
    assert f"error: '{other}' cannot be heard: not a sound; give a sound\n" in capsys.readouterr().err


@pytest.mark.parametrize("beginning", ["python -m xmodal.search --index=", "python -m xmodal.paint --model="])
def test_the_commands_as_they_are_shown(beginning, finished, monkeypatch):
    monkeypatch.chdir(finished)
    (command,) = (command for command in commands() if command.startswith(beginning))
    assert call(command) == 0
    assert (finished / ("search.png" if "search" in beginning else "painted.png")).is_file()


def test_the_generator_is_served(finished):
    served = tf.saved_model.load(str(finished / "saved_models/text_to_image_generator/1"))
    signature = served.signatures["serving_default"]
    pngs = signature(text=tf.constant(["a red", "a blue"]), seed=tf.constant(3))["png"]
    assert [tf.io.decode_png(png).shape for png in pngs] == [(32, 32, 3)] * 2
    folder = finished / "saved_models/text_to_image_generator/1"
    again = as_served(folder, {"serving_default": {"text": ["a red", "a blue"], "seed": 3}})
    assert again["serving_default"]["png"].tolist() == pngs.numpy().tolist()


@pytest.mark.parametrize(
    ("main", "words", "told"),
    [
        (search.main, ["--index=nowhere", ""], "error: the query is empty; say what the picture shows"),
        (search.main, ["--index=nowhere"], "error: the query is empty"),
        (search.main, ["a cat"], "error: the following arguments are required: --index; see --help"),
        (search.main, ["--index=nowhere", "--top_k=0", "x"], "error: --top_k=0 is no number of pictures"),
        (
            search.main,
            ["--index=nowhere", "--top_k=x", "x"],
            "error: argument --top_k: invalid int value: 'x'",
        ),
        (search.main, ["--index=nowhere", "a cat"], "error: --index=nowhere is no index (FileNotFoundError"),
        (paint.main, ["--model=nowhere", " "], "error: the query is empty"),
        (paint.main, ["--model=nowhere", "--audio=x.wav"], "error: --audio and --listener belong together"),
        (search.main, ["--index=nowhere", "--listener=x", "x"], "error: --audio and --listener belong"),
        (
            paint.main,
            ["--model=nowhere", "a", "--guidance=nan"],
            "error: --guidance=nan draws",
        ),
        (
            paint.main,
            ["--model=nowhere", "a", "--guidance=-inf"],
            "error: --guidance=-inf draws",
        ),
        (
            paint.main,
            ["--model=nowhere", "a", "--output=x.jpg"],
            "error: --output=x.jpg does not end",
        ),
        (paint.main, ["--model=nowhere", "a", "--output=x"], "error: --output=x does not end"),
        (
            paint.main,
            ["--model=nowhere", "a cat"],
            "error: --model=nowhere is no generator (FileNotFoundError",
        ),
        (
            paint.main,
            ["--model=nowhere", "--count=0", "x"],
            "error: --count=0 is too few; give a whole number",
        ),
        (
            paint.main,
            ["--model=preset:stable_difusion_3", "a cat"],
            "error: the text-to-image model 'stable_difusion_3' could not be loaded (",
        ),
    ],
)
def test_a_mistake_is_one_line(main, words, told, capsys):
    assert main(["command", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(told)
    assert len(printed.splitlines()) == 1


@pytest.mark.slow
def test_a_model_of_keras_nlp_draws_in_the_same_experiment(folder, tmp_path):
    from tiny_stable_diffusion import save_tiny_stable_diffusion

    save_tiny_stable_diffusion(folder / "sd3")
    words = ["--image_generator=preset:./sd3", "--drawn=2", "--guidance=3", f"--output_dir={tmp_path}"]
    others = [flag for flag in FLAGS if not flag.startswith("--generator")]
    process = command("run", *others, *words, cwd=folder)
    assert process.returncode == 0, process.stderr
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert told["results"]["text_to_image"]["n"] == 2
    assert "parameters of the generator" not in told["facts"]


def test_a_class_that_never_occurs_in_training(folder, tmp_path):
    for split, names in (("train", ("red", "green")), ("test", ("red", "green", "blue"))):
        for name in names:
            source = folder / "squares" / name
            target = tmp_path / "squares" / split / name
            target.mkdir(parents=True)
            for number in range(6):
                (target / f"{number}.png").write_bytes((source / f"{number}.png").read_bytes())
    process = run_here(*FLAGS, f"--text_encoder={folder / 'bert'}", cwd=tmp_path)
    assert process.returncode == 2
    last = process.stderr.splitlines()[-1]
    assert last.startswith("error: class 'blue' stands in test ('test/blue/")
    assert "but not in train" in last
