"""Answers in words to photographs, against what the classifier behind them takes by itself.

python -m xmodal.bench --bench=ask --flagfile=experiments/names_to_answers.cfg --dataset=unlabelled:PATH
"""

import tempfile
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import tensorflow as tf

from xmodal.assets.presets import text_encoder_path
from xmodal.bench import paired_timing
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import cache_folder
from xmodal.export.predictor import BATCH, Predictor
from xmodal.export.saved_model import export_saved_model
from xmodal.export.served_names import ServedNames
from xmodal.models.speakers import make_speaker
from xmodal.models.text_encoder import text_encoder
from xmodal.recipes.names_to_answers.photographs import photographs_of, question_of
from xmodal.recipes.names_to_answers.readers import TEMPLATE, words_of
from xmodal.report.records import Table
from xmodal.training.trainer import Trainer

PHOTOGRAPHS = 1000


def measure(settings: Config, clock: Clock) -> dict[str, Any]:
    """Times `xmodal.ask`, from encoded photographs to answers, and Keras' `predict` of the classifier alone.

    Both decode the photographs, which the classifier does in a `tf.data` pipeline.

    Args:
        settings: as for a run of names_to_answers; where there are fewer photographs than are asked about,
            they are repeated.
        clock: times the parts.

    Returns:
        How many "photographs", "answers" and "names" there are, and "rate", photographs a second of both, as
        `paired_timing.compare_rates` gives it.
    """
    with clock.stage("preparation"):
        photographs = photographs_of(settings)
        answers = question_of(settings, photographs).answers
        names, offline = settings.names, settings.run.offline
        speaker = make_speaker(names.speaker, names.speaker_names, offline)
        preset = text_encoder_path(settings.text.text_encoder, cache=cache_folder(), offline=offline)
        encoder = text_encoder(preset, settings.text.sequence_length)
        words = words_of(Trainer(settings.train), encoder, speaker, answers, names.name_text)
        sentences = [TEMPLATE.format(phrase) for phrase in words.phrases]
        served = ServedNames(speaker, encoder, sentences, vectors=words.names)
        test = photographs.test
        contents = [test.encoded(index) for index in range(min(len(test), PHOTOGRAPHS))]
        contents = [*islice(cycle(contents), PHOTOGRAPHS)]
    with tempfile.TemporaryDirectory() as folder, clock.stage("asking"):
        predictor = Predictor(export_saved_model(served, Path(folder) / "model"))
        predictor = predictor.with_answers(answers)

        def classify(photographs: Sequence[bytes]) -> None:
            images = tf.data.Dataset.from_tensor_slices(photographs).map(speaker.read, tf.data.AUTOTUNE)
            speaker.model.predict(images.batch(BATCH).prefetch(1), verbose=0)

        rate = paired_timing.compare_rates(
            lambda: PHOTOGRAPHS / paired_timing.time_call(lambda: [*predictor(contents)])[0],
            lambda: PHOTOGRAPHS / paired_timing.time_call(lambda: classify(contents))[0],
        )
    return {
        "photographs": PHOTOGRAPHS,
        "answers": len(answers.names),
        "names": len(words.phrases),
        "repeats": paired_timing.REPEATS,
        "rate": rate,
    }


def tables(figures: dict[str, Any]) -> list[Table]:
    """Returns what was measured, for the console."""
    rate = figures["rate"]
    spread = f"{rate['ratio_least']:.2f} to {rate['ratio_most']:.2f}"
    row = (f"{rate['first']:.1f}", f"{rate['second']:.1f}", f"{rate['ratio']:.2f}", spread)
    caption = (
        f"Photographs a second: {figures['answers']} answers asked of {figures['photographs']:,}, in "
        f"{figures['repeats']} pairs"
    )
    return [Table(caption, ("asked", "the classifier alone", "ratio", "least to most"), (row,))]
