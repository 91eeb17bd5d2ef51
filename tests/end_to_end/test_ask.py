"""The command `python -m xmodal.ask`: answers in words that nobody trained."""

import json
import subprocess
from pathlib import Path

import pytest
import warm_python

from xmodal import ask, demo
from xmodal.assets.fetch import locate
from xmodal.assets.presets import text_encoder_path
from xmodal.bridge.names_text import names_text
from xmodal.core.files import cache_folder
from xmodal.export.predictor import Answer, Item, Predictor
from xmodal.export.saved_model import export_saved_model
from xmodal.export.served_names import ServedNames
from xmodal.models.speakers import make_speaker
from xmodal.models.text_encoder import text_encoder

ROOT = Path(__file__).parents[2]
RIGHT = {
    "chelsea.png": "cat",
    "coffee.png": "cup of coffee",
    "rocket.jpg": "rocket",
    "motorcycle_left.png": "motorcycle",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The real speaker and the real encoder: nothing of them was trained for any of these answers."""
    speaker = make_speaker("efficientnet_lite0_imagenet")
    encoder = text_encoder(text_encoder_path("minilm_l6", cache=cache_folder()), 48)
    texts = names_text(speaker.class_names, speaker.wordnet, style="ancestors")
    return export_saved_model(
        ServedNames(speaker, encoder, texts), tmp_path_factory.mktemp("models") / "names"
    ).parent


@pytest.fixture(scope="module")
def photographs() -> Path:
    return locate("sample_photographs", cache=cache_folder())


def test_photographs_are_answered_in_words(model, photographs):
    done = subprocess.run(
        [
            *(warm_python.path(), *f"python -m xmodal.ask --model={model} --format=json".split()[1:]),
            f"--answers={','.join(RIGHT.values())}",
            *(str(photographs / name) for name in RIGHT),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [answer["label"] for answer in answers] == list(RIGHT.values())
    assert min(answer["probability"] for answer in answers) > 0.5
    assert "cat (" in answers[0]["read"]


def test_the_demo_takes_answers_that_are_typed(model, photographs):
    predictor = Predictor(model)
    item = Item("picture", (photographs / "chelsea.png").read_bytes(), False)

    def answered(words: str) -> Answer:
        (answer,) = demo.answers_of(predictor, [item], words)
        return answer

    assert answered("dog, cat, car").label == "cat"
    assert answered(" ").label in ("tabby", "tiger cat", "Egyptian cat")
    assert answered("cat").problem == ("'cat' is the only answer; give at least two to choose from")
    # A path is a word here: whoever sees the page sees no file of the machine.
    assert answered("/etc/hostname").problem.startswith("'/etc/hostname' is the only")


def test_what_cannot_be_asked(model, photographs, capsys):
    picture = str(photographs / "chelsea.png")

    def error(*arguments: str) -> str:
        assert ask.main(["", *arguments]) == 2
        return capsys.readouterr().err

    assert "'cat' is the only answer" in error(f"--model={model}", "--answers=cat", picture)
    assert "--answers" in error(f"--model={model}", picture)
    assert "holds no model" in error(f"--model={ROOT / 'tests'}", "--answers=cat,dog", picture)
    alike = error(f"--model={model}", "--answers=猫,狗", picture)
    assert "reads 'a photo of 猫' and 'a photo of 狗' alike" in alike
