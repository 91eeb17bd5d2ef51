"""What a search chooses within a time, told by a clock that the test moves."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from xmodal.config.search import SearchConfig
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.recipes.search import adapt_run
from xmodal.recipes.search.halving import Search
from xmodal.recipes.search.images import stratified_sample, upper_layers
from xmodal.recipes.search.ledger import Ledger
from xmodal.recipes.search.space import Arm, Space, values_of
from xmodal.training.rehearsal import rehearsal

# Accuracy after one epoch of each layer that learns, by the side; it rises with every further epoch.
ACCURACY = {"head": 0.80, "block5": 0.84, "block4": 0.82, "all": 0.70}
START = {"image_size": 32, "trainable": "head", "epochs": 1}


class Killed(Exception):
    """Stands for a process that is ended."""


class Tried:
    """A world in which a side s takes s/32 milliseconds an image, and larger ones are better.

    Args:
        dies_at: the number of the look or training that is killed before it has ended, from 1.
        missing: a side that cannot be had.
    """

    def __init__(self, dies_at=0, missing=0):
        self.now, self.steps, self.log = 0.0, [], []
        self._dies_at, self._missing = dies_at, missing

    def _take(self, step, seconds):
        self.steps.append(step)
        self.now += seconds
        if len(self.steps) == self._dies_at:
            raise Killed

    def look(self, values, count):
        side = values["image_size"]
        if side == self._missing:
            raise UserError(f"`image_size={side}` is not there", "take another")
        pace = side / 32 / 1000
        self._take(("look", side), 2.0 + pace * count)
        return pace, [({}, side / 100)]

    def train(self, values, epochs, count):
        side, layer = values["image_size"], values["trainable"]
        learning = 1 if layer == "head" else 3
        self._take((side, layer, epochs), 1.0 + learning * epochs * count * side / 32 / 1000)
        accuracy = ACCURACY[layer] + side / 1000 + epochs / 100
        return accuracy, 1 - accuracy, learning * side / 32 / 1000

    def space(self, fixed=(), examples=2000, **changes):
        return Space(
            **{
                "noun": "images",
                "examples": examples,
                "validation": 100,
                "start": START,
                "fixed": frozenset(fixed),
                "looks": [{"image_size": side} for side in (32, 64, 96)],
                "cost": lambda values: ("", float(values["image_size"])),
                "look": self.look,
                "arms": self.arms,
                "train": self.train,
                "epochs": "epochs",
                "rungs": (1, 2, 4),
                "most_epochs": 30,
                "groups": [("image_size",), ("trainable",)],
            }
            | changes
        )

    def arms(self, looks):
        best = values_of(looks[0].flags)
        learning = [Arm({**best, "trainable": layer}, 3.0, looks[0]) for layer in list(ACCURACY)[1:]]
        return [*(Arm(values_of(look.flags), 1.0, look) for look in looks), *learning]

    def choose(self, path, minutes=5.0, until=0.0, one_device=None, **changes):
        ledger = Ledger(path, one_device, lambda: self.now)
        search = Search(self.space(**changes), ledger, minutes, until, self.log.append)
        values, choices = search.choose()
        self.trials = ledger.trials
        return values, choices


@pytest.fixture
def path(tmp_path):
    return tmp_path / "search.json"


@pytest.fixture
def choose(path, one_device):
    def chosen(world, **options):
        return world.choose(path, one_device=one_device, **options)

    return chosen


def test_what_is_chosen_is_the_best_on_validation_of_what_was_tried(choose):
    world = Tried()
    values, _ = choose(world)
    trainings = [trial for trial in world.trials if trial.accuracy is not None]
    best = max(trainings, key=lambda trial: trial.accuracy)
    assert {**START, **values_of(best.flags)} == {**values, "epochs": 1}
    assert values["image_size"] == 96
    assert values["trainable"] == "block5"
    # All of them were tried for an epoch, the better half for two.
    assert sum(trial.epochs == 1 for trial in trainings) == 6
    assert sum(trial.epochs == 2 for trial in trainings) == 3


def test_the_epochs_fill_what_is_left_of_the_time(choose):
    world = Tried()
    values, choices = choose(world)
    taken = 0.001 * 3 * 3 * 2000 * values["epochs"]
    assert 0.3 * 300 < taken <= 300 - world.trials[-1].elapsed
    assert world.trials[-1].elapsed < 0.5 * 300
    assert choices[-1].flags == (f"--epochs={values['epochs']}",)
    assert "of 5 minutes were left, and an epoch of all 2,000 images takes about" in choices[-1].why


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4, 6, 9, 11])
def test_a_search_that_was_killed_decides_the_same_and_repeats_nothing(choose, path, dies_at):
    whole = Tried()
    expected = choose(whole)
    kept = path.read_bytes()
    path.unlink()
    killed = Tried(dies_at)
    with pytest.raises(Killed):
        choose(killed)
    again = Tried()
    # Another process has another clock.
    again.now = 12_345.0
    assert choose(again) == expected
    assert killed.steps[:-1] + again.steps == whole.steps
    assert json.loads(path.read_bytes()) == json.loads(kept)


def test_a_finished_search_is_read_and_not_made_again(choose):
    expected = choose(Tried())
    again = Tried()
    assert choose(again) == expected
    assert again.steps == []


def test_what_does_not_fit_is_left_out_with_the_reason(choose):
    world = Tried()
    values, _ = choose(world, minutes=0.7)
    notes = {trial.flags: trial.note for trial in world.trials if trial.note}
    assert values["image_size"] == 64
    assert ("look", 96) not in world.steps
    assert notes["--image_size=96",] == "no time was left to look at it"
    assert notes["--image_size=64", "--trainable=all"].startswith("no time was left for about ")


def test_a_side_that_takes_too_long_for_all_images_is_not_looked_at(choose):
    world = Tried()
    values, _ = choose(world, examples=20_000, minutes=3.0)
    (note,) = {trial.note for trial in world.trials if trial.flags == ("--image_size=64",)}
    assert note == "takes 40.0 s to read all 20,000 images"
    assert ("look", 64) not in world.steps
    assert values["image_size"] == 32


def test_what_cannot_be_had_is_left_out_unless_it_was_asked_for(choose, path):
    world = Tried(missing=96)
    values, _ = choose(world)
    assert values["image_size"] == 64
    assert "`image_size=96` is not there" in {trial.note for trial in world.trials}
    path.unlink()
    with pytest.raises(UserError, match="`image_size=32` is not there"):
        choose(Tried(missing=32))


@pytest.mark.parametrize("minutes", [0.001, 0.05, 0.1])
def test_too_short_a_time_is_told_with_one_that_would_do(choose, path, minutes):
    with pytest.raises(UserError, match=f"`minutes={minutes}` is too short: ") as caught:
        choose(Tried(), minutes=minutes)
    # Another time is not bound to what was found.
    assert not path.exists()
    enough = float(caught.value.remedy.split("=")[1].split("`")[0])
    values, _ = choose(Tried(), minutes=enough)
    assert values["epochs"] >= 1


def test_what_is_fixed_stays(choose):
    world = Tried()
    values, choices = choose(world, fixed=["image_size", "epochs"], rungs=(1,))
    assert (values["image_size"], values["epochs"]) == (32, 1)
    assert {side for side, *_ in world.steps if side != "look"} == {32}
    assert [choice.why for choice in choices if choice.flags == ("--image_size=32",)] == ["As it was given."]


def test_a_search_with_nothing_to_choose_is_refused(choose, path):
    with pytest.raises(UserError) as caught:
        choose(Tried(), fixed=START)
    assert str(caught.value) == (
        "`minutes=5` has nothing to choose beside `fixed=epochs,image_size,trainable`; "
        "leave some of these out"
    )
    assert not path.exists()


def test_nothing_better_is_searched_for_than_what_is_to_be_reached(choose):
    world = Tried()
    values, _ = choose(world, until=0.87)
    assert world.log[-1] == "search: nothing better is searched for, until=0.87"
    assert world.trials[-1].accuracy >= 0.87
    assert all(trial.accuracy < 0.87 for trial in world.trials[:-1] if trial.accuracy is not None)
    assert {**START, **values_of(world.trials[-1].flags), "epochs": values["epochs"]} == values


def test_reasons_name_what_others_reached(choose):
    _, choices = choose(Tried())
    why = {choice.flags[0]: choice.why for choice in choices}
    assert why["--image_size=96"].startswith(
        "LogME of features without training, higher is better: 32 0.320, 64 0.640, 96 0.960."
    )
    assert "head 91.60%" in why["--trainable=block5"]
    assert "block5" in why["--trainable=block5"]


def test_a_broken_file_is_told(choose, path):
    path.write_text('{"trials": [{"flags": 3}]}')
    with pytest.raises(UserError, match=r"search\.json' is broken .'trials\.0\.flags' is 3.*add `restart`"):
        choose(Tried())
    path.write_text(json.dumps({"trials": [{"flags": [], "step": "another"}]}))
    with pytest.raises(UserError, match="is of another search than that for look at the flags as they are"):
        choose(Tried())


def test_a_dry_run_says_that_it_does_not_search_and_without_minutes_nothing_is_searched():
    told = []
    config = SimpleNamespace(search=SearchConfig(minutes=3.0), run=SimpleNamespace(output_dir=None))
    session = SimpleNamespace(config=config, clock=Clock(told.append))
    with rehearsal():
        assert adapt_run(session, lambda: pytest.fail("it looked at data")) is session
    assert told == ["warning: what --minutes would choose is not known; this is for the flags as they are"]
    config.search = SearchConfig()
    assert adapt_run(session, lambda: pytest.fail("it looked at data")) is session


def test_examples_are_taken_with_each_class_as_frequent_as_among_all():
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)[np.random.default_rng(0).permutation(100)]
    positions = stratified_sample(labels, 50)
    assert np.bincount(labels[positions]).tolist() == [30, 15, 5]
    assert np.array_equal(stratified_sample(labels, 500), np.arange(100))


def test_upper_layers_begin_with_a_block_where_one_is_near():
    names = [f"block{block}_conv{number}" for block in range(1, 5) for number in (1, 2, 3)]
    vgg = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2, name=name) for name in names)])
    assert upper_layers(vgg) == ("block4", "block3")
    # What most layers are called is no block, wherever the first of them is.
    names = [
        "tokens",
        "positions",
        "segments",
        "norm",
        *(f"transformer_layer_{number}" for number in range(6)),
    ]
    bert = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2, name=name) for name in names)])
    assert upper_layers(bert) == ("transformer_layer_3", "transformer_layer_1")


def test_lines_are_read_as_the_options_have_them():
    lines = ["--image_size=64", "--features=a,b", "--augment=", "--learning_rate=0.0001", "--base=VGG16"]
    assert values_of(lines) == {
        "image_size": 64,
        "features": ("a", "b"),
        "augment": (),
        "learning_rate": 1e-4,
        "base": "VGG16",
    }
