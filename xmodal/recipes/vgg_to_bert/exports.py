"""How the export of `vgg_to_bert` is checked and compressed."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal import report
from xmodal.config.config import Config
from xmodal.data.images import ImageData, ImageSplit
from xmodal.evaluation.calibration import softmax
from xmodal.export.compressed import Examples, drawn, representative_images, small_images
from xmodal.export.serving import of_length_one
from xmodal.export.verification import Question
from xmodal.tasks.text_classifier import TextClassifier

CHECKED_IMAGES = 32


def export_questions(
    test: ImageSplit,
    sentences: np.ndarray,
    of_images: np.ndarray,
    text: TextClassifier,
    temperature: float,
    strategy,
) -> list[Question]:
    """Asks each signature about the first test images, of which there are calibrated logits (N, T).

    The texts are the first of the sentences (N, P) of these images.
    """
    some = slice(CHECKED_IMAGES)
    images = {"image_bytes": [test.encoded(index) for index in range(len(test))[some]]}
    words = sentences[some, 0]
    said = {"text": [word.encode() for word in words]}
    of_words = text.logits(words, strategy) / temperature
    vectors = of_length_one(text.vectors(sentences[some].ravel(), strategy))
    vectors = tf.reshape(vectors, [len(words), -1, vectors.shape[-1]]).numpy()
    return [
        Question(images, softmax(of_images[some])),
        Question(said, softmax(of_words), "text"),
        Question(images | said, softmax((of_images[some] + of_words) / 2), "image_and_text"),
        Question(images, of_length_one(vectors.mean(axis=1)).numpy(), "embed_image", "embedding"),
        Question(said, vectors[:, 0], "embed_text", "embedding"),
    ]


def small_forms(
    config: Config, model: keras.Model, temperature: float, data: ImageData, exported: Path
) -> tuple[report.Table, ...]:
    """Makes smaller forms of the export, and measures them."""

    def examples(split: ImageSplit) -> Examples:
        places = drawn(len(split), config.run.seed)
        return Examples([split.encoded(place) for place in places], split.labels[places])

    return small_images(
        exported,
        model,
        image_size=config.data.image_size,
        temperature=temperature,
        names=data.class_names,
        representative=representative_images(data.train, config.run.seed),
        validation=examples(data.validation),
        test=examples(data.test),
    )
