"""How the encoders of pairs come about: by the flags, and from random weights, to show what is transferred.

The same protocol with random weights is called "random_frozen"; "from_scratch" trains each encoder as a whole
on its side of the pairs. What the classes are called is encoded by the same BERT for all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

import keras
import numpy as np

from xmodal.data.pairs import PairData
from xmodal.evaluation.calibration import softmax
from xmodal.models.fusion import ALONE, FusionSettings, reads_sides
from xmodal.models.heads import ClassTexts
from xmodal.models.text_encoder import TextEncoder
from xmodal.recipes.fusion.classifiers import SHOWN, Setting, calibrated, logits_of, train_all
from xmodal.recipes.fusion.encoders import (
    both_encoders,
    encoded_pairs,
    image_encoder,
    images_of,
    read_images,
    read_texts,
    sentence_encoder,
    train_texts,
)
from xmodal.runs.inputs import build_trunk
from xmodal.runs.session import Job
from xmodal.tasks.image_classifier import parts_of_pass, train_image_classifier
from xmodal.tasks.pair_encoders import Encoders, samples
from xmodal.training.baselines import FROM_SCRATCH, Attempt, from_scratch, kept_seconds
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.progress import History

T = TypeVar("T")


@dataclass(frozen=True)
class Bench:
    """What the encoders of a run share.

    Attributes:
        job: the run.
        data: the pairs.
        preset: the text encoder, as `text_encoder.text_encoder` takes it.
        texts: what the classes are called, encoded.
        cache: where features are kept for other runs.
    """

    job: Job
    data: PairData
    preset: str
    texts: ClassTexts
    cache: FeatureCache | None

    @property
    def kept(self) -> dict:
        """What loops over batches are run in, and where they are kept."""
        return {"strategy": self.job.strategy, "checkpoints": self.job.checkpoints}


@dataclass(frozen=True)
class Answers:
    """What a fusion on encoders without transfer answers.

    Attributes:
        validation_logits: (V, C).
        probabilities: calibrated, of the test pairs (N, C).
        uncalibrated: the same before.
        histories: of all trainings.
    """

    validation_logits: np.ndarray
    probabilities: np.ndarray
    uncalibrated: np.ndarray
    histories: tuple[History, ...]


def by_flags(
    bench: Bench, *, image_weights: str, text_weights: Literal["preset", "none"], prefix: str = ""
) -> Setting:
    """Makes the encoders, trains them where the flags ask for it, and reads all pairs with them."""
    job = bench.job
    config, clock = job.config, job.clock
    stage = f"{prefix}image encoder"
    with clock.stage(stage):
        trunk, seen = image_encoder(
            config, bench.data, weights=image_weights, stage=stage, cache=bench.cache, **bench.kept
        )
    stage = f"{prefix}text encoder"
    with clock.stage(stage):
        text, said = sentence_encoder(
            config, bench.data, bench.preset, weights=text_weights, stage=stage, **bench.kept
        )
    encoders = both_encoders(config, trunk, text, (*seen, *said), job.strategy)
    views = config.image.epochs if config.image.trainable == "head" else 1
    return _read(bench, encoders, views, prefix)


def _read(bench: Bench, encoders: Encoders, views: int, prefix: str) -> Setting:
    config, clock = bench.job.config, bench.job.clock
    with clock.stage(f"{prefix}reading images"):
        images = read_images(
            config, encoders, bench.data, views=views, prefix=prefix, cache=bench.cache, **bench.kept
        )
    with clock.stage(f"{prefix}reading texts"):
        texts = read_texts(encoders, bench.data, prefix=prefix, **bench.kept)
    encoded = encoded_pairs(bench.data, images, texts)
    models = FusionSettings(
        samples=samples(encoders, encoded["train"]),
        texts=bench.texts,
        units=config.fusion.fusion_units,
        dropout=config.image.dropout,
        scale=config.text.similarity_scale,
    )
    return Setting(config, bench.job.strategy, bench.job.checkpoints, encoders, encoded, models, prefix)


def trained_from_scratch(bench: Bench) -> tuple[Setting, dict[str, tuple[Attempt, ...]]]:
    """Trains both encoders from scratch, each within the seconds of its side, and reads all pairs with them.

    Returns:
        What fusions are trained on; and all that was tried, by the name of the encoder.
    """
    config, strategy = bench.job.config, bench.job.strategy
    parts, _ = parts_of_pass(int(bench.data.train.has_image.sum()), config.image)
    image, images_tried = _searched(bench, "image", _image_attempt, config.image.epochs, parts)
    text, texts_tried = _searched(bench, "text", _text_attempt, config.text.text_epochs)
    encoders = both_encoders(config, image.trained, text.trained, (image.history, text.history), strategy)
    # They know the training images: these are read as they are, as by a trunk that learned by the flags.
    setting = _read(bench, encoders, 1, f"{FROM_SCRATCH}: ")
    return setting, {"image encoder": images_tried, "text encoder": texts_tried}


def _searched(
    bench: Bench,
    side: str,
    attempt: Callable[[Bench, str, float, int], tuple[History, T]],
    passes: int,
    parts: int = 1,
) -> tuple[Attempt[T], tuple[Attempt[T], ...]]:
    """Trains the encoder of a side from scratch, within the seconds of the one with transferred weights."""
    job, stage = bench.job, f"{FROM_SCRATCH}: {side} encoder"
    spent = job.clock.seconds[f"{side} encoder"] + job.clock.seconds[f"reading {side}s"]
    with job.clock.stage(stage):
        return from_scratch(
            partial(attempt, bench, stage),
            rates=job.config.train.scratch_learning_rates,
            passes=passes,
            seconds=kept_seconds(spent, stage, job.checkpoints, job.strategy),
            strategy=job.strategy,
            parts=parts,
        )


def _stage(stage: str, rate: float, passes: int) -> str:
    return f"{stage}, rate {rate:g}, {passes} passes"


def _image_attempt(bench: Bench, stage: str, rate: float, passes: int) -> tuple[History, keras.Model]:
    """Trains a trunk and a head as a whole, and returns the trunk."""
    config, strategy = bench.job.config, bench.job.strategy
    trunk = build_trunk(config, config.image.base, "none", strategy)
    classifier = train_image_classifier(
        trunk,
        images_of(bench.data),
        data_config=config.data,
        # The head of a new network is new too: it is not fitted before all of it learns.
        config=replace(config.image, head_epochs=0, learning_rate=rate, epochs=passes, patience=passes),
        trainable="all",
        seed=config.run.seed,
        stage=_stage(stage, rate, passes),
        training=config.train,
        **bench.kept,
    )
    return classifier.histories[-1], trunk


def _text_attempt(bench: Bench, stage: str, rate: float, passes: int) -> tuple[History, TextEncoder]:
    """Trains a text encoder and a head as a whole, at one rate, and returns the encoder."""
    config = bench.job.config
    text = replace(
        config.text,
        text_trainable="all",
        text_head_epochs=0,
        layer_decay=1.0,
        text_learning_rate=rate,
        text_epochs=passes,
    )
    config = replace(config, text=text, image=replace(config.image, patience=passes))
    stage = _stage(stage, rate, passes)
    classifier = train_texts(config, bench.data, bench.preset, weights="none", stage=stage, **bench.kept)
    assert classifier.history is not None
    return classifier.history, classifier.encoder


def answers_of(bench: Bench, setting: Setting, name: str) -> Answers:
    """Trains the fused model of a name on encoders without transfer, and asks it about the test pairs."""
    needed = (*ALONE, name) if reads_sides(name) else (name,)
    models = train_all(setting, needed, bench.job.clock)
    fused = models[name]
    logits = logits_of(setting, name, fused.model, "test", SHOWN[0])
    trained = (model.history for model in models.values() if model.history)
    return Answers(
        fused.validation_logits,
        calibrated(setting, fused, logits, "test"),
        softmax(logits),
        (*setting.encoders.histories, *trained),
    )


def seconds_of(prefix: str, stages: Mapping[str, float]) -> float:
    """Adds up the stages whose names begin with a prefix."""
    return sum(seconds for stage, seconds in stages.items() if stage.startswith(prefix))
