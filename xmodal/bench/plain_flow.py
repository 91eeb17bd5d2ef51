"""vgg_to_bert as it is written without this project: plain Keras, every epoch through the whole network.

    python -m xmodal.bench.plain_flow FLAGS

The same images, weights, networks, epochs and rates; the image network passes every image in every epoch,
BERT reads a sentence for every image, and each sentence by itself when it answers. Prints a JSON object.
With --peer_epochs it takes some of the epochs, and reckons the seconds of the others from the last of them.
"""

import json
import sys
import time

import keras
import keras_nlp
import numpy as np

from xmodal.assets.presets import text_encoder_path
from xmodal.config import flags
from xmodal.config.config import Config
from xmodal.core.files import cache_folder
from xmodal.data.decoding import decode
from xmodal.data.images import ImageData, ImageSplit
from xmodal.models.trainable import set_trainable
from xmodal.recipes.image_training import transfer_backbone
from xmodal.runs.inputs import load_configured_images
from xmodal.training.trainer import Trainer


def main(argv: list[str]) -> int:
    """Runs it with the flags of vgg_to_bert, and prints the accuracy of both networks and the seconds."""
    started = time.perf_counter()
    flags.parse(argv)
    settings = flags.from_flags()
    keras.config.set_dtype_policy(settings.train.precision)
    data = load_configured_images(settings)
    pixels, test = (_pixels(split, settings.data.image_size) for split in (data.train, data.test))
    image_model = _image_network(settings, data)
    # As often as the head of a frozen trunk is trained.
    epochs = settings.image.head_epochs if settings.image.trainable == "head" else settings.image.epochs
    size, timed_epochs = settings.train.batch_size, settings.bench.peer_epochs or epochs
    estimated_seconds = _fit(image_model, pixels, data.train.labels, size, epochs, timed_epochs)
    train_answers, test_answers = (
        image_model.predict(part, verbose=0).argmax(axis=1) for part in (pixels, test)
    )
    preprocess, text_model = _text_network(settings, len(data.class_names))
    train_tokens, test_tokens = (
        preprocess([f"a photo of a {data.class_names[k]}" for k in part])
        for part in (train_answers, test_answers)
    )
    size, epochs = settings.text.text_batch_size, settings.text.text_epochs
    estimated_seconds += _fit(
        text_model, train_tokens, data.train.labels, size, epochs, settings.bench.peer_epochs or epochs
    )
    examples = [{name: part[n : n + 1] for name, part in test_tokens.items()} for n in range(len(data.test))]
    text_answers = np.concatenate([text_model.predict_on_batch(example) for example in examples]).argmax(
        axis=1
    )
    report = {
        "image_only": np.mean(test_answers == data.test.labels),
        "text": np.mean(text_answers == data.test.labels),
        "seconds": time.perf_counter() - started,
        "seconds_reckoned": estimated_seconds,
    }
    print(json.dumps({name: float(value) for name, value in report.items()}))
    return 0


def _fit(model: keras.Model, inputs, labels: np.ndarray, size: int, epochs: int, timed_epochs: int) -> float:
    """Trains for some of the epochs, and returns the seconds of the others, reckoned from the last one."""
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    model.fit(inputs, labels, batch_size=size, epochs=min(timed_epochs, epochs), verbose=0, callbacks=[clock])
    return max(0, epochs - timed_epochs) * (ends[-1] - ends[-2])


def _pixels(split: ImageSplit, size: int) -> np.ndarray:
    return np.stack([decode(split.encoded(number), size) for number in range(len(split))])


def _image_network(settings: Config, data: ImageData) -> keras.Model:
    trunk, _ = transfer_backbone(settings, data.train, Trainer(settings.train, settings.run.seed))
    set_trainable(trunk, settings.image.trainable)
    features = keras.layers.LayerNormalization()(trunk.output)
    model = keras.Model(trunk.input, _logits(len(data.class_names))(features))
    frozen = settings.image.trainable == "head"
    rate = settings.image.head_learning_rate if frozen else settings.image.learning_rate
    model.compile(keras.optimizers.AdamW(rate), _loss(), jit_compile=False)
    return model


def _text_network(settings: Config, classes: int):
    preset = text_encoder_path(settings.text.text_encoder, cache=cache_folder(), offline=settings.run.offline)
    backbone = keras_nlp.models.BertBackbone.from_preset(preset)
    preprocessor = keras_nlp.models.BertTextClassifierPreprocessor(
        keras_nlp.models.BertTokenizer.from_preset(preset), sequence_length=settings.text.sequence_length
    )
    vectors = keras.layers.GlobalAveragePooling1D()(backbone.output["sequence_output"])
    model = keras.Model(backbone.input, _logits(classes)(vectors))
    model.compile(keras.optimizers.AdamW(settings.text.text_learning_rate), _loss(), jit_compile=False)
    return preprocessor, model


def _logits(classes: int) -> keras.layers.Layer:
    # As Keras' guide to mixed precision has it.
    return keras.layers.Dense(classes, dtype="float32")


def _loss() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
