"""How `names_to_answers` reads answers from what a speaker sees: mixture, sentences, head, projection."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import keras
import numpy as np

from xmodal.bridge.name_answers import (
    ENOUGH_IMAGES,
    SCALE,
    SHARPNESS,
    name_weights,
    project,
    read_names,
    require_distinct,
    similarities,
    standardised,
)
from xmodal.bridge.names_text import names_text
from xmodal.bridge.styles import STYLES
from xmodal.core.errors import UserError
from xmodal.data.batches import array_batches
from xmodal.data.images import ImageSplit, batches
from xmodal.data.target_map import Answers
from xmodal.evaluation.calibration import softmax
from xmodal.models import heads
from xmodal.models.speakers import Speaker
from xmodal.models.text_encoder import TextEncoder
from xmodal.training.prediction import predict
from xmodal.training.trainer import Trainer

TEMPLATE = "a photo of {}"
# Of a head on 1,000 sentences that BERT has read once.
HEAD_EPOCHS = 30


@dataclass(frozen=True)
class Seen:
    """What a speaker makes of images: logits of its names (B, N), and pooled features (B, D), or (B, 0)."""

    logits: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Words:
    """Names and answers as an encoder reads them.

    Attributes:
        trainer: runs the encoder.
        encoder: reads sentences.
        phrases: what is written of each of the N names, such as "a Chihuahua, a kind of toy dog, dog".
        names: vectors of the sentences of these (N, D).
        descriptions: vectors of the answers' descriptions (M, D).
        targets: the answer of each (M,).
    """

    trainer: Trainer
    encoder: TextEncoder
    phrases: tuple[str, ...]
    names: np.ndarray
    descriptions: np.ndarray
    targets: np.ndarray


def see(
    speaker: Speaker, split: ImageSplit, trainer: Trainer, batch_size: int, *, features: bool, name: str
) -> Seen:
    """Lets a speaker look at a split, or finds what it saw in an earlier run.

    Args:
        speaker: the classifier.
        split: N images.
        trainer: runs it.
        batch_size: B.
        features: they are wanted, not logits alone.
        name: what progress calls it.
    """
    pixels = batches(
        split, image_size=speaker.image_size, read_image=speaker.read, batch_size=batch_size
    ).map(lambda batch: batch["image"])
    facts = {"speaker": speaker.name, "crop": speaker.crop, "method": speaker.method}

    def rows(model: keras.Model, kind: str) -> np.ndarray:
        stage = f"{name}: {kind}"
        return trainer.features(model, split, pixels, facts=facts, name=stage)[np.arange(len(split))]

    logits = rows(speaker.model, "names")
    return Seen(logits, rows(speaker.features, "features") if features else logits[:, :0])


def words_of(
    trainer: Trainer, encoder: TextEncoder, speaker: Speaker, answers: Answers, name_text: str
) -> Words:
    """Lets the encoder read names and answers.

    Raises:
        UserError: for answers that it does not know, or cannot tell apart, and for texts of names that are
            not known of the speaker's.
    """
    # The words around a name are known always.
    known = encoder.knows([re.sub(r"^a photo of (an? )?", "", text) for text in answers.texts])
    if not known.all():
        text = answers.texts[int(np.argmin(known))]
        raise UserError(
            f"the text encoder knows no word of the answer {text!r}",
            "use other words, or `text_encoder=multilingual_e5_small` for other languages",
        )
    require_distinct(encoder.padded(answers.texts)["token_ids"], answers.targets, answers.texts)
    words = Words(trainer, encoder, (), np.empty(0), np.empty(0), answers.targets)
    words = replace(words, descriptions=_vectors(words, answers.texts))
    return with_name_text(words, speaker, name_text)


def with_name_text(words: Words, speaker: Speaker, style: str) -> Words:
    """Returns the same with other texts of the names, one of `names_text.NAME_TEXTS`."""
    phrases = names_text(speaker.class_names, speaker.wordnet, style=style, template="{}")
    return replace(words, phrases=phrases, names=_vectors(words, [TEMPLATE.format(each) for each in phrases]))


def name_mixture(words: Words, logits: np.ndarray) -> np.ndarray:
    """The answer nearest to the mean of the names' vectors, or to which the names speak most."""
    return read_names(logits, words.names, words.descriptions, words.targets)


def top1_sentence(words: Words, logits: np.ndarray) -> np.ndarray:
    """The answer nearest to a sentence of the most probable name."""
    return SCALE * similarities(words.names[logits.argmax(axis=1)], words.descriptions, words.targets)


def hedged_sentence(words: Words, logits: np.ndarray) -> np.ndarray:
    """The answer nearest to a sentence such as "a photo of probably a tabby, perhaps a lynx"."""
    sentences, places = np.unique(sentences_of(words.phrases, logits), return_inverse=True)
    return SCALE * similarities(_vectors(words, sentences), words.descriptions, words.targets)[places]


def written_head(words: Words, logits: np.ndarray) -> np.ndarray:
    """A head on BERT that has learned from the sentences of the names which answers they mean."""
    weights = name_weights(words.names, words.descriptions, words.targets)
    meant = weights / weights.sum(axis=1, keepdims=True)
    with words.trainer.scope():
        head = keras.Sequential([keras.Input((words.names.shape[1],)), heads.logits(meant.shape[1])])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    learned = (words.names, meant.astype(np.float32))
    words.trainer.fit(head, learned, loss=loss, epochs=HEAD_EPOCHS, batch_size=32, name="written head")
    read = softmax(words.trainer.predict(head, words.names, batch_size=1024))
    return np.log(softmax(logits) @ read)


def projected(words: Words, logits: np.ndarray) -> np.ndarray:
    """The answer nearest to the image itself, mapped into the space of sentences."""
    cosines = similarities(project(logits, words.names), words.descriptions, words.targets)
    many = len(logits) >= ENOUGH_IMAGES * cosines.shape[1]
    return SHARPNESS * standardised(cosines) if many else SCALE * cosines


# How answers are read: words, logits of the speaker's names (B, N) -> logits of the answers (B, C).
READERS: dict[str, Callable[[Words, np.ndarray], np.ndarray]] = {
    "name_mixture": name_mixture,
    "top1_sentence": top1_sentence,
    "hedged_sentence": hedged_sentence,
    "written_head": written_head,
    "projected": projected,
}


def sentences_of(phrases: tuple[str, ...], logits: np.ndarray) -> list[str]:
    """Puts what a speaker sees (B, N) into sentences that hedge."""
    shares = softmax(logits).astype(np.float32)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :2]
    style = STYLES["hedged"]
    patterns = style.patterns_for(2)
    chosen = style.choose(np.take_along_axis(shares, order, axis=1), np.where)
    return [
        TEMPLATE.format(patterns[choice].format(*(phrases[name] for name in pair)))
        for choice, pair in zip(chosen, order, strict=True)
    ]


def _vectors(words: Words, texts: Iterable[str]) -> np.ndarray:
    tokens = words.encoder.padded(texts)
    return predict(words.encoder.model, array_batches(tokens, batch_size=64), words.trainer.strategy)
