"""Networks of random weights, and heads that learn from few labels, on 40 pictures of two classes."""

import pytest
from absl.testing import flagsaver
from tiny_data import save_tiny_data

from xmodal.config import flags
from xmodal.core.clock import Clock
from xmodal.recipes.image_baselines import image_baselines, image_worth
from xmodal.recipes.vgg_to_bert.recipe import transferred
from xmodal.runs.inputs import build_trunk, configured_images
from xmodal.runs.session import Job
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.feature_cache import FeatureCache

FLAGS = ("--head_epochs=3", "--per_class=2,5,all", "--scratch_learning_rates=1e-4,1e-3", "--min_per_class=2")


@pytest.fixture
def job(tmp_path, monkeypatch, one_device):
    save_tiny_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    with flagsaver.flagsaver():
        flags.parse(["run", "--flagfile=small.cfg", "--base=small_cnn", "--target=small_cnn", *FLAGS])
        settings = flags.from_flags()
    return Job(settings, Clock(print), one_device, Checkpoints(tmp_path / "kept"))


def test_both_baselines_are_trained_and_features_are_found_again(job, tmp_path):
    data = configured_images(job.config)
    cache = FeatureCache(tmp_path / "features", 1.0, True, print)
    baselines = image_baselines(job, data, cache, trainable="head", seconds=0.0)
    assert baselines.best in ("random_frozen", "from_scratch")
    assert baselines.logits["no_transfer"] is baselines.logits[baselines.best]
    assert [(attempt.rate, attempt.passes) for attempt in baselines.tried] == [(1e-4, 1), (1e-3, 1)]
    kept = {path.name for path in (tmp_path / "features").iterdir() if path.is_dir()}

    def new():
        return build_trunk(job.config, job.config.image.target, "none", job.strategy)

    amounts = image_worth(job, data, {"with": new, "without": new}, cache, {})
    more = {path.name for path in (tmp_path / "features").iterdir() if path.is_dir()} - kept
    # Those of the test images alone: what the baseline read is not computed again.
    assert len(more) == 1
    labels = data.train.labels
    assert [(item.count, item.examples) for item in amounts] == [(2, 4), (5, 10), (0, len(labels))]
    for item in amounts:
        # The same weights on both sides: transfer of nothing is worth nothing.
        assert item.with_transfer.tolist() == item.without.tolist()


@pytest.mark.parametrize(("weights", "claimed"), [("none", False), ("imagenet", True)])
def test_nothing_is_claimed_where_nothing_moves(weights, claimed):
    with flagsaver.flagsaver():
        flags.parse(["run", f"--image_weights={weights}"])
        assert transferred(flags.from_flags()) is claimed
