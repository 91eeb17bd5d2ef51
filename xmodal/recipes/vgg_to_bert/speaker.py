"""What a ready classifier says beside the network's own sentence, and how BERT's vectors of it are read."""

from dataclasses import dataclass, replace

import numpy as np

from xmodal import report
from xmodal.bridge.adaptation import LinearMap
from xmodal.bridge.bridge import Bridge
from xmodal.bridge.name_answers import speaker_temperature
from xmodal.bridge.names_head import fit_names_head
from xmodal.bridge.names_text import names_text
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.target_map import TargetMap
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.metrics import HeldOut
from xmodal.models.speakers import Speaker, make_speaker
from xmodal.models.text_encoder import text_encoder
from xmodal.recipes.limits import SAMPLED
from xmodal.recipes.seeing import see
from xmodal.recipes.vgg_to_bert.questions import describe_answers, sentences_of
from xmodal.runs.session import Session
from xmodal.tasks.text_classifier import TextClassifier

NAMES_EACH = 6


@dataclass(frozen=True)
class SpokenImages:
    """What a speaker says of the images.

    Attributes:
        speaker: the classifier, N names.
        bridge: probabilities of its names -> a sentence.
        temperature: softens its logits before they are read.
        head: reads answers from them, by way of BERT's vectors of the names' sentences.
        logits: what was read of the held-out images.
        shares: the mean probability of each name among the test images (N,).
        sentences: of the test images (N,).
        rows: split -> the square roots of the names' probabilities (n, N) for a sample of its images.
    """

    speaker: Speaker
    bridge: Bridge
    temperature: float
    head: LinearMap
    logits: HeldOut
    shares: np.ndarray
    sentences: np.ndarray
    rows: dict[str, np.ndarray]


def hear_speaker(session: Session, data: ImageData, question: TargetMap, preset: str) -> SpokenImages | None:
    """Lets the speaker look at the images, and learns what it means by its names; None without a speaker.

    Args:
        session: the run.
        data: labelled images, of which those to learn from teach.
        question: what is asked.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
    """
    config, trainer = session.config, session.trainer
    if config.names.speaker == "none":
        return None
    with session.clock.stage("speaker"):
        with trainer.scope():
            speaker = make_speaker(config.names.speaker, config.names.speaker_names, config.run.offline)
            speaker = replace(speaker, max_pixels=config.data.max_pixels)
            encoder = text_encoder(preset, config.text.sequence_length)
        template, style = config.text.template[0], config.names.name_text
        phrases = names_text(speaker.class_names, speaker.wordnet, style=style, template="{}")
        read = TextClassifier(encoder, encoder.model, None).reader(trainer)
        texts, targets = describe_answers(config, question)

        def logits_of(split: ImageSplit, part: str) -> np.ndarray:
            size = config.train.batch_size
            return see(speaker, split, trainer, size, name=f"speaker, {part}").logits

        train, validation, test = (
            logits_of(getattr(data, part), part) for part in ("train", "validation", "test")
        )
        temperature = speaker_temperature(train)
        head = fit_names_head(
            softmax(train, temperature),
            question.of_class[data.train.labels],
            read([template.replace("{}", phrase) for phrase in phrases]),
            read(texts),
            targets,
        )
        bridge = Bridge(phrases, "hedged", (template,), phrases=phrases)
        shares = softmax(test, temperature)
        answers = HeldOut(head(softmax(validation, temperature)), head(shares))
        sentences = sentences_of(bridge, test, 1.0)[:, 0]
        rows = {
            part: np.sqrt(softmax(logits[getattr(data, part).spread(SAMPLED)], temperature))
            for part, logits in {"train": train, "validation": validation, "test": test}.items()
        }
    session.seconds("speaker_text", "speaker")
    session.seconds("both_texts", "text", "speaker_text")
    return SpokenImages(speaker, bridge, temperature, head, answers, shares.mean(axis=0), sentences, rows)


def names_tables(spoken: SpokenImages | None, question: TargetMap) -> tuple[report.Table, ...]:
    """Tells which of the speaker's names speak for which answer, weighted by how often they are said."""
    if spoken is None:
        return ()
    contrast = spoken.head.weights - spoken.head.weights.mean(axis=1, keepdims=True)
    salience = contrast * spoken.shares[:, None]
    rows = tuple(
        (answer, ", ".join(spoken.speaker.class_names[name] for name in np.argsort(-weights)[:NAMES_EACH]))
        for answer, weights in zip(question.names, salience.T, strict=True)
    )
    return (report.Table("The speaker's names that speak for each answer", ("answer", "names"), rows),)
