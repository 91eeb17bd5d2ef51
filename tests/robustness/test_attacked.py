from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from xmodal.core.clock import Clock
from xmodal.robustness.attacked import (
    AttackResult,
    adversarial_table,
    attack_all,
    attack_comparisons,
    attack_table,
    attacked_examples,
    training_cost,
)
from xmodal.runs.session import Session
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.trainer import Trainer

COUNT = 100


def first(count: int) -> np.ndarray:
    return np.arange(COUNT) < count


def attacked(clean: int, noise: tuple[int, int], words: int) -> AttackResult:
    return AttackResult(
        first(clean),
        {
            "typing noise": {
                "in 2% of the letters": first(noise[0]),
                "in 10% of the letters": first(noise[1]),
            },
            "near words,": {"at most 5% of them": first(words)},
        },
        (("a.txt", 12, "near words", "cat: dog"),),
    )


CONFIG = SimpleNamespace(attack=SimpleNamespace(attacked_examples=100))
BOTH = {"bert": attacked(90, (85, 60), 40), "bert_robust": attacked(88, (87, 85), 41)}


def test_the_examples_are_drawn_by_the_seed():
    picked = attacked_examples(1000, 50, 0)
    assert len(set(picked.tolist())) == 50
    assert (np.diff(picked) > 0).all()
    assert (picked.min(), picked.max()) != (0, 49)
    np.testing.assert_array_equal(picked, attacked_examples(1000, 50, 0))
    assert not np.array_equal(picked, attacked_examples(1000, 50, 1))
    np.testing.assert_array_equal(attacked_examples(3, 50, 0), [0, 1, 2])
    assert attacked_examples(3, 0, 0).size == 0


def test_classifiers_stand_side_by_side():
    table = attack_table(BOTH, "documents")
    assert table.head[:4] == ("test documents", "bert", "bert: 95% from", "bert: to")
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == [
        "as they are",
        "typing noise in 2% of the letters",
        "typing noise in 10% of the letters",
        "near words, at most 5% of them",
    ]
    assert rows["as they are"][0::3] == (0.9, 0.88)
    assert rows["typing noise in 10% of the letters"][0::3] == (0.6, 0.85)
    assert rows["as they are"][1:3] == pytest.approx((0.8256, 0.9448), abs=1e-4)


def test_the_worst_of_each_kind_is_told_and_what_robust_training_does_about_it():
    gains = attack_comparisons(BOTH, "documents")
    told = [gain.sentence.partition(":")[0] for gain in gains]
    assert told == [
        "typing noise in 10% of the letters, asked of bert, hurt",
        "near words, at most 5% of them, asked of bert, hurt",
        "bert_robust in the place of bert, under typing noise in 10% of the letters, helped",
        "bert_robust in the place of bert, under near words, at most 5% of them, "
        "made no difference that 100 documents can show",
    ]
    assert [round(gain.difference, 2) for gain in gains] == [-0.3, -0.5, 0.25, 0.01]
    assert len(attack_comparisons({"bert": BOTH["bert"]}, "documents")) == 2


def test_the_cost_of_robust_training_is_told():
    cost = training_cost("bert_robust", "bert", {"bert": 100.0, "bert_robust": 128.4, "tf_idf": 3.0})
    assert cost == {"training of bert_robust, times as long as of bert": 1.28}


def test_examples_are_shown():
    table = adversarial_table(BOTH["bert"], "bert", "words")
    assert table.head[1] == "words"
    assert table.rows == (("a.txt", 12, "near words", "cat: dog"),)


def test_a_run_that_goes_on_does_not_attack_again(tmp_path: Path, one_device):
    def session() -> Session:
        kept = Checkpoints(tmp_path / "checkpoints", seconds=60, steps=0, writes=True, log=print)
        return Session(CONFIG, Clock(), Trainer(strategy=one_device, checkpoints=kept))

    found = attack_all(session(), ["bert"], BOTH.__getitem__)
    again = attack_all(session(), ["bert"], lambda name: pytest.fail(f"{name} was attacked again"))
    for item in (found["bert"], again["bert"]):
        np.testing.assert_array_equal(item.clean, BOTH["bert"].clean)
        assert item.misled == BOTH["bert"].misled
        assert list(item.changed) == list(BOTH["bert"].changed)
        for kind, rights in BOTH["bert"].changed.items():
            assert list(item.changed[kind]) == list(rights)
            for most, right in rights.items():
                np.testing.assert_array_equal(item.changed[kind][most], right)
