"""Image, text and sound together: four ways to read them, against each alone, and what is left without one.

A VGG backbone reads each image, and each sound as a spectrogram, and a BERT each text, once; what they give
is kept. On it the scorer s(x, c) is trained for each of them and for all together, and every model is asked
again with some of them taken away. The best way to read all is trained once more on encoders from random
weights, to show what theirs are worth.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xmodal import report
from xmodal.bridge.class_names import readable
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError, nearest
from xmodal.data.cleaned_documents import prepare_documents
from xmodal.data.pairs import PairData
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.metrics import evaluate, log_loss
from xmodal.export.predictor import Item
from xmodal.models.fusion import ALONE, FUSIONS, note_of
from xmodal.recipes.explaining import with_explained
from xmodal.recipes.fusion.classifiers import EncodedPairs, Fused, calibrate, logits_of, train_all
from xmodal.recipes.fusion.encoders import require_all_modalities, require_picture_layers
from xmodal.recipes.fusion.exports import export_best
from xmodal.recipes.fusion.limits import pair_limits
from xmodal.recipes.fusion.protocols import Answers, EncoderInputs, answers_of, by_flags, train_from_scratch
from xmodal.recipes.fusion.tables import Baselines, FusionResults, build_report
from xmodal.recipes.text_reading import check_encoder, report_reading
from xmodal.runs.inputs import load_configured_pairs
from xmodal.runs.session import Session, begin, finish, hand_over
from xmodal.tasks.similarity_classifier import class_texts
from xmodal.training.baselines import FROM_SCRATCH, RANDOM_FROZEN, best_on_validation


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    require_fusions(config.fusion.fusion)
    session = begin(config, clock)
    with clock.stage("data"):
        original = load_configured_pairs(config)
        prepared = prepare_documents(original, scrub=config.documents.scrub)
        data: PairData = prepared.data
        require_all_modalities(data)
        preset = session.text_encoder()
        require_picture_layers(session, data)
        texts = data.test.texts[data.test.has_text]
        reading = report_reading(session, check_encoder(session, preset), texts)
    session.check_data(data.report)
    inputs = encoder_inputs(session, data, preset)
    pairs = by_flags(inputs, image_weights=config.image.image_weights, text_weights="preset")
    fused_names = (f"fused_{kind}" for kind in config.fusion.fusion)
    models = train_all(pairs, (*pairs.alone, *fused_names))
    with clock.stage("evaluation"):
        results = measure(pairs, models, data)
    without = without_transfer(inputs, results.best, data) if config.train.baseline else None
    run = build_report(session, pairs, models, results, without, data)
    limits = pair_limits(pairs, models, results, data)
    run = limits.added_to(replace(run, facts=run.facts | prepared.facts | reading))
    served = models[results.best]
    run = hand_over(session, run, lambda: export_best(pairs, served, results, original, limits.limits))
    return finish(session, explain_pairs(session, run, results.best_probabilities, data))


def explain_pairs(session: Session, run: report.Run, probabilities: np.ndarray, data: PairData) -> report.Run:
    """Asks about pairs whose texts were cleaned: a report does not show what --scrub takes away."""
    test = data.test

    def item(index: int) -> Item:
        text = test.texts[index].encode("utf-8", "replace")
        sound_bytes = test.sound(index)
        sound = Item(test.ids[index], sound_bytes, False) if sound_bytes else None
        return Item(test.ids[index], test.image(index), False, text=text, sound=sound)

    return with_explained(session, run, probabilities, test.labels, data.class_names, item)


def require_fusions(names: Sequence[str]) -> None:
    """Refuses a name of no way to read both, with a `UserError`."""
    for name in names:
        if name not in FUSIONS:
            raise UserError(f"`fusion={name}` is not known", nearest(name, FUSIONS))


def encoder_inputs(session: Session, data: PairData, preset: str) -> EncoderInputs:
    """Encodes what the classes are called."""
    with session.clock.stage("class names"):
        texts = class_texts(
            [readable(name) for name in data.class_names],
            np.arange(len(data.class_names)),
            data.class_names,
            preset,
            session.trainer,
            max_tokens=session.config.text.sequence_length,
            called=session.config.text.text_encoder,
        )
    return EncoderInputs(session, data, preset, texts)


def without_transfer(inputs: EncoderInputs, name: str, data: PairData) -> Baselines:
    """Trains a fused model by name on encoders of random weights, and on some that learned from scratch."""

    def random_frozen() -> Answers:
        prefix = f"{RANDOM_FROZEN}: "
        return answers_of(
            inputs, by_flags(inputs, image_weights="none", text_weights="none", prefix=prefix), name
        )

    # One after the other, so that the features of one alone are held.
    answers = {RANDOM_FROZEN: random_frozen()}
    pairs, attempts = train_from_scratch(inputs)
    answers[FROM_SCRATCH] = answers_of(inputs, pairs, name)
    best = best_on_validation(
        {way: answer.validation_logits for way, answer in answers.items()}, data.validation.labels
    )
    return Baselines(answers, attempts, best)


def measure(pairs: EncodedPairs, models: dict[str, Fused], data: PairData) -> FusionResults:
    """Asks every model about the test pairs: all that they have, and every part of it."""
    logits = {
        name: {
            visible: logits_of(pairs, name, fused.model, "test", visible)
            for visible in (pairs.visible if name not in ALONE else [pairs.whole])
        }
        for name, fused in models.items()
    }
    probabilities = {
        name: {
            visible: calibrate(pairs, models[name], part, "test", visible) for visible, part in parts.items()
        }
        for name, parts in logits.items()
    }
    results = {
        name: evaluate(
            name,
            probabilities[name][pairs.whole],
            data.test.labels,
            data.class_names,
            uncalibrated=softmax(logits[name][pairs.whole]),
            note=note_of(name, pairs.modalities),
            seconds=fused.seconds,
        )
        for name, fused in models.items()
    }
    best = best_of(pairs, [fused for name, fused in models.items() if name not in ALONE])
    results["fused"] = replace(results[best], name="fused", note=f"{best}, the best on the validation pairs")
    test_logits = {name: part[pairs.whole] for name, part in logits.items()}
    return FusionResults(results, probabilities, best, test_logits, pairs.whole)


def best_of(pairs: EncodedPairs, models: list[Fused]) -> str:
    """Returns the model whose probabilities are best on the validation pairs.

    Of a few pairs the log loss says more than how many of the answers are right.
    """
    labels = pairs.encoded["validation"].labels
    return min(
        models,
        key=lambda fused: log_loss(calibrate(pairs, fused, fused.validation_logits, "validation"), labels),
    ).name
