"""`bert_news` tells what its answers to documents promise, in the report and in the export."""

import random
from pathlib import Path

import pytest
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert

from xmodal.config import flags
from xmodal.core.clock import Clock
from xmodal.export.predictor import Predictor
from xmodal.recipes.bert_news import run

WORDS = {"animals": ("cat", "dog", "bird"), "plants": ("oak", "fir", "plant")}
FLAGS = """\
--experiment=bert_news
--documents=dir:news
--text_encoder=./bert
--sequence_length=16
--text_trainable=head
--text_epochs=8
--text_learning_rate=0.05
--max_error=0.1
--nobaseline
--strategy=one_device
--offline
"""


def test_documents_have_sets_of_answers_and_strange_ones_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    for split, count in (("train", 40), ("val", 30), ("test", 30)):
        for label, names in WORDS.items():
            for number in range(count):
                path = tmp_path / "news" / split / label / f"{number}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"a photo of {chance.choice(names)} {chance.choice(names)} {number}")
    save_tiny_bert(tmp_path / "bert", alike=(("animal", "cat", "dog", "bird"), ("oak", "fir", "plant")))
    (tmp_path / "small.cfg").write_text(FLAGS)
    with flagsaver.flagsaver():
        flags.parse(["run", "--flagfile=small.cfg"])
        settings = flags.from_flags()
    found = run(settings, Clock(lambda line: None))
    assert found.facts["promised share of answer sets with the right answer"] == 0.9
    assert found.facts["seen share of answer sets with the right answer"] >= 0.75
    assert found.facts["export: largest difference, serving_default"] < 1e-4
    (sets,) = (table for table in found.tables if table.caption.startswith("Answer sets"))
    assert [row[0] for row in sets.rows] == ["animals", "plants", "all"]
    assert sets.rows[-1][2] == pytest.approx(found.facts["seen share of answer sets with the right answer"])
    (withheld,) = (table for table in found.tables if "withheld" in table.caption)
    assert [row[0] for row in withheld.rows] == ["90.0%", "95.0%", "99.0%", "99.9%"]

    known, strange = Predictor(Path(str(found.facts["export"])))(
        ["a photo of cat dog 3", "surely three red green one two surely three"]
    )
    assert set(known.answers) <= set(WORDS)
    assert known.unknown < strange.unknown
    assert strange.verdict.startswith("probably none of these; it reads most like ")
