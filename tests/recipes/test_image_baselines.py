"""Networks of random weights, and heads that learn from few labels, on 40 pictures of two classes."""

import pytest
from absl.testing import flagsaver
from tiny_data import save_tiny_data

from xmodal.config import flags
from xmodal.core.clock import Clock
from xmodal.recipes.image_baselines import image_baselines, image_worth
from xmodal.recipes.vgg_to_bert.recipe import moves
from xmodal.runs.inputs import build_backbone, load_configured_images
from xmodal.runs.session import Session
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.trainer import Trainer

FLAGS = ("--head_epochs=3", "--per_class=2,5,all", "--scratch_learning_rates=1e-4,1e-3", "--min_per_class=2")


@pytest.fixture
def session(tmp_path, monkeypatch, one_device):
    save_tiny_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    with flagsaver.flagsaver():
        flags.parse(["run", "--flagfile=small.cfg", "--base=small_cnn", "--target=small_cnn", *FLAGS])
        settings = flags.from_flags()
    cache = FeatureCache(tmp_path / "features", 1.0)
    trainer = Trainer(
        settings.train, strategy=one_device, checkpoints=Checkpoints(tmp_path / "kept"), cache=cache
    )
    return Session(settings, Clock(print), trainer)


def test_both_baselines_are_trained_and_features_are_found_again(session, tmp_path):
    data = load_configured_images(session.config)
    session.seconds("image_only")
    baselines = image_baselines(session, data)
    assert baselines.best in ("random_frozen", "from_scratch")
    assert baselines.logits["no_transfer"] is baselines.logits[baselines.best]
    assert [(attempt.rate, attempt.passes) for attempt in baselines.tried] == [(1e-4, 1), (1e-3, 1)]
    kept = {path.name for path in (tmp_path / "features").iterdir() if path.is_dir()}

    def new():
        return build_backbone(session.config, session.config.image.target, "none", session.trainer)

    amounts = image_worth(session, data, {"with": new, "without": new}, {})
    more = {path.name for path in (tmp_path / "features").iterdir() if path.is_dir()} - kept
    # What the baseline read is not computed again.
    assert not more
    labels = data.train.labels
    assert [(item.count, item.examples) for item in amounts] == [(2, 4), (5, 10), (0, len(labels))]
    for item in amounts:
        # The same weights on both sides: transfer of nothing is worth nothing.
        assert item.with_transfer.tolist() == item.without.tolist()


@pytest.mark.parametrize(("weights", "claimed"), [("none", False), ("imagenet", True)])
def test_nothing_is_claimed_where_nothing_moves(weights, claimed):
    with flagsaver.flagsaver():
        flags.parse(["run", f"--image_weights={weights}"])
        assert moves(flags.from_flags()) is claimed
