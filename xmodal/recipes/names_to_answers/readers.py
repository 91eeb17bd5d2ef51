"""How `names_to_answers` reads answers from what a speaker sees: mixture, sentences, head, projection."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.bridge.name_answers import (
    SCALE,
    SHARPNESS,
    name_weights,
    read_names,
    reads_together,
    require_distinct,
    similarities,
    standardise,
)
from xmodal.bridge.names_text import names_text
from xmodal.core.errors import UserError
from xmodal.data.target_map import Answers
from xmodal.evaluation.calibration import softmax
from xmodal.models import heads
from xmodal.models.speakers import Speaker
from xmodal.models.text_encoder import TextEncoder
from xmodal.recipes.seeing import Seen
from xmodal.tasks.projection import train_projection
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.trainer import Trainer

TEMPLATE = "a photo of {}"
# Of a head on 1,000 sentences that BERT has read once.
HEAD_EPOCHS = 30


@dataclass(frozen=True)
class Words:
    """Names and answers as an encoder reads them.

    Attributes:
        trainer: trains heads.
        encoder: reads sentences.
        read: sentences -> their vectors; traced once, as that takes seconds.
        phrases: what is written of each of the N names, such as "a Chihuahua, a kind of toy dog, dog".
        names: vectors of the sentences of these (N, D).
        descriptions: vectors of the answers' descriptions (M, D).
        targets: the answer of each (M,).
    """

    trainer: Trainer
    encoder: TextEncoder
    read: Callable[[Iterable[str]], np.ndarray]
    phrases: tuple[str, ...]
    names: np.ndarray
    descriptions: np.ndarray
    targets: np.ndarray


def words_of(
    trainer: Trainer, encoder: TextEncoder, speaker: Speaker, answers: Answers, name_text: str
) -> Words:
    """Lets the encoder read names and answers.

    Raises:
        UserError: for answers that it does not know, or cannot tell apart, and for texts of names that are
            not known of the speaker's.
    """
    # The words around a name are known always.
    known_mask = encoder.knows([re.sub(r"^a photo of (an? )?", "", text) for text in answers.texts])
    if not known_mask.all():
        text = answers.texts[int(np.argmin(known_mask))]
        raise UserError(
            f"the text encoder knows no word of the answer {text!r}",
            "use other words, or `text_encoder=multilingual_e5_small` for other languages",
        )
    require_distinct(encoder.padded(answers.texts)["token_ids"], answers.targets, answers.texts)
    read = TextClassifier(encoder, encoder.model, None).reader(trainer)
    words = Words(trainer, encoder, read, (), np.empty(0), read(answers.texts), answers.targets)
    return with_name_text(words, speaker, name_text)


def with_name_text(words: Words, speaker: Speaker, style: str) -> Words:
    """Returns the same with other texts of the names, one of `names_text.NAME_TEXTS`."""
    phrases = names_text(speaker.class_names, speaker.wordnet, style=style, template="{}")
    return replace(words, phrases=phrases, names=words.read([TEMPLATE.format(phrase) for phrase in phrases]))


def name_mixture(words: Words, seen: Seen) -> np.ndarray:
    """The answer nearest to the mean of the names' vectors, or to which the names speak most."""
    return read_names(seen.logits, words.names, words.descriptions, words.targets)


def top1_sentence(words: Words, seen: Seen) -> np.ndarray:
    """The answer nearest to a sentence of the most probable name."""
    return SCALE * similarities(words.names[seen.logits.argmax(axis=1)], words.descriptions, words.targets)


def hedged_sentence(words: Words, seen: Seen) -> np.ndarray:
    """The answer nearest to a sentence such as "a photo of probably a tabby, perhaps a lynx"."""
    sentences, indices = np.unique(sentences_of(words.phrases, seen.logits), return_inverse=True)
    return SCALE * similarities(words.read(sentences), words.descriptions, words.targets)[indices]


def written_head(words: Words, seen: Seen) -> np.ndarray:
    """A head on BERT that has learned from the sentences of the names which answers they mean."""
    weights = name_weights(words.names, words.descriptions, words.targets)
    meanings = weights / weights.sum(axis=1, keepdims=True)
    with words.trainer.scope():
        head = keras.Sequential([keras.Input((words.names.shape[1],)), heads.logits(meanings.shape[1])])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    examples = (words.names, meanings.astype(np.float32))
    words.trainer.fit(head, examples, loss=loss, epochs=HEAD_EPOCHS, batch_size=32, name="written head")
    answer_shares = softmax(words.trainer.predict(head, words.names, batch_size=1024))
    return np.log(softmax(seen.logits) @ answer_shares)


def projected(words: Words, seen: Seen) -> np.ndarray:
    """The answer nearest to the image itself, mapped into the space of sentences."""
    project = train_projection(seen.features, seen.logits, words.names, words.trainer, name="projection")
    cosines = similarities(project(seen.features), words.descriptions, words.targets)
    is_joint = reads_together(seen.logits, cosines.shape[1])
    return SHARPNESS * standardise(cosines) if is_joint else SCALE * cosines


# How answers are read: words, and what the speaker makes of B images -> logits of the answers (B, C).
READERS: dict[str, Callable[[Words, Seen], np.ndarray]] = {
    "name_mixture": name_mixture,
    "top1_sentence": top1_sentence,
    "hedged_sentence": hedged_sentence,
    "written_head": written_head,
    "projected": projected,
}


def sentences_of(phrases: tuple[str, ...], logits: np.ndarray) -> list[str]:
    """Puts what a speaker sees (B, N) into sentences that hedge."""
    bridge = Bridge(phrases, "hedged", (TEMPLATE,), phrases=phrases)
    return [row[0].decode() for row in bridge.sentences(tf.constant(softmax(logits))).numpy()]
