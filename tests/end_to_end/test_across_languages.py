"""BERT on documents, tested on sets that it did not learn from."""

from pathlib import Path

import numpy as np
import pytest
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert

from xmodal.config import flags
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.models.heads import text_classifier
from xmodal.models.text_encoder import text_encoder
from xmodal.recipes.bert_news import recipe, tables
from xmodal.runs.inputs import load_configured_documents, other_test_documents
from xmodal.runs.session import Session
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.trainer import Trainer

LABELS = {"animal": ("cat", "dog", "bird"), "plant": ("oak", "fir", "plant", "animal")}


def table(template: str) -> str:
    lines = [f"{label}\t{template.format(word)}\n" for label, words in LABELS.items() for word in words]
    return "label\ttext\n" + "".join(lines)


def parsed(*arguments: str) -> Config:
    with flagsaver.flagsaver():
        assert flags.parse(["run", *arguments]) == []
        return flags.from_flags()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("across")
    for name, template in {"home": "a {0}", "near": "one {0}", "far": "two {0} , not warm"}.items():
        (folder / f"{name}.tsv").write_text(table(template))
    return folder


def test_each_other_test_set_has_the_result_of_its_own_documents(folder, one_device):
    others = [f"--test_documents={name}=tsv:{folder / name}.tsv" for name in ("near", "far")]
    settings = parsed(f"--documents=tsv:{folder / 'home.tsv'}", "--min_per_class=1", "--noscrub", *others)
    original = load_configured_documents(settings)
    data = other_test_documents(original, settings.documents, cache=folder, offline=True)
    encoder = text_encoder(save_tiny_bert(folder / "bert"), 12)
    bert = TextClassifier(encoder, text_classifier(encoder.model, 2), None)
    trainer = Trainer(strategy=one_device)
    session = Session(settings, Clock(), trainer)
    validation = bert.logits(original.validation.texts, trainer)
    results = recipe.evaluate_elsewhere(session, bert, validation, original.validation.labels, data)
    assert list(results) == ["bert_near", "bert_far"]
    for name, other in data.items():
        result = results[f"bert_{name}"]
        answers = bert.logits(other.test.texts, trainer).argmax(axis=1)
        assert result.n == len(other.test) == 7
        assert result.accuracy == np.mean(answers == other.test.labels)
        assert result.note == f"the same BERT on {name}, of which it saw nothing before"
    assert tables.mean_elsewhere(results) == {
        "mean accuracy of BERT on 2 other test sets": np.mean([item.accuracy for item in results.values()])
    }


def test_without_other_test_sets_there_is_no_mean():
    assert tables.mean_elsewhere({}) == {}


def test_the_shipped_flagfile_is_understood(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    settings = parsed("--flagfile=experiments/across_languages.cfg")
    assert len(settings.documents.test_documents) == 11
    assert settings.text.text_encoder == "multilingual_e5_small"
