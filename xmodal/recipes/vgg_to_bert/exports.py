"""How the export of `vgg_to_bert` is checked and compressed."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from xmodal import report
from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.data.gif_frames import problem_in_graph
from xmodal.data.images import ImageData, ImageSplit, batches
from xmodal.data.sound_format import SoundFormat
from xmodal.data.target_map import TargetMap
from xmodal.data.video_format import VideoFormat
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.limits import AnswerLimits
from xmodal.evaluation.metrics import HeldOut
from xmodal.export.compressed import Examples, example_indices, representative_images, small_images
from xmodal.export.portable import export_portable, save_image_inputs
from xmodal.export.served_images import ServedImages
from xmodal.export.served_sounds import ServedSounds
from xmodal.export.served_speaker import SpeakerText
from xmodal.export.served_videos import ServedVideos
from xmodal.export.serving import unit_vectors
from xmodal.export.verification import Question
from xmodal.recipes.export import export_model
from xmodal.recipes.vgg_to_bert.questions import BridgeSentences, TransferredImages, pool_answers
from xmodal.recipes.vgg_to_bert.speaker import SpokenImages
from xmodal.runs.session import Session
from xmodal.tasks.image_features import with_features
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.trainer import Trainer

CHECKED_IMAGES = 32


def export_served(
    session: Session,
    bridge: Bridge,
    question: TargetMap,
    images: TransferredImages,
    text: TextClassifier,
    measured: Mapping[str, CalibratedResult],
    data: ImageData,
    sentences: BridgeSentences,
    speaker_text: SpeakerText | None,
    limits: AnswerLimits,
) -> dict[str, float | int | str]:
    """Exports the models, and compares their answers for some test images in a fresh process.

    Args:
        session: the run.
        bridge, question: between the images and the text model.
        images: the image classifier.
        text: the text model.
        measured: what was answered for the test images.
        data: the images.
        sentences: what the bridge says of them.
        speaker_text: what a speaker says beside that, None for nothing.
        limits: what is promised of the answers to images.
    """
    result = measured["both_texts" if speaker_text else "text"]
    temperature = measured["text"].temperature
    test, words = data.test, sentences.held_out.test
    served = _served_kind(test)(
        image_model=images.classifier.model,
        image_size=session.config.data.image_size,
        max_pixels=session.config.data.max_pixels,
        temperature=images.temperature,
        bridge=bridge,
        text=text,
        text_temperature=temperature,
        names=question.names,
        speaker_text=speaker_text,
        temperature_of_both=result.temperature if speaker_text else 1.0,
        limits=limits,
        features_and_logits=with_features(images.classifier, mirror=session.config.image.mirror),
    )
    logits = result.logits.test / result.temperature
    questions = export_questions(
        served.input_name, served.noun, test, words, logits, text, temperature, session.trainer.alone()
    )
    if isinstance(served, ServedVideos):
        questions.append(_question_of_frames(test, logits, session.config.data.image_size))
    facts = export_model(session, served, questions)
    if session.config.run.portable:
        facts |= _portable(session.config, Path(str(facts["export"])), bridge, images, test)
    return facts


def _portable(
    config: Config, exported: Path, bridge: Bridge, images: TransferredImages, test: ImageSplit
) -> dict[str, float | int | str]:
    return export_portable(
        exported,
        images.classifier.model,
        temperature=images.temperature,
        names=bridge.class_names,
        save_inputs=save_image_inputs(config.data.image_size, config.data.max_pixels),
        inputs=[test.encoded(index) for index in range(min(CHECKED_IMAGES, len(test)))],
        expected=softmax(images.logits.test[:CHECKED_IMAGES], images.temperature),
    )


def _served_kind(test: ImageSplit) -> Callable[..., ServedImages]:
    """Returns what serves examples of a kind."""
    if test.medium is None:
        return ServedImages
    if isinstance(test.medium.format, SoundFormat):
        return partial(ServedSounds, sound=test.medium.format)
    return partial(ServedVideos, video=test.medium.format)


def _question_of_frames(test: ImageSplit, logits: np.ndarray, side: int) -> Question:
    sample = test.take(np.arange(len(test))[:CHECKED_IMAGES])
    (batch,) = batches(sample, image_size=side, batch_size=CHECKED_IMAGES, windows=True)
    frames = [tf.io.serialize_tensor(windows).numpy() for windows in batch["image"]]
    return Question({"frames": frames}, softmax(logits[:CHECKED_IMAGES]), "frames")


def _asked_indices(test: ImageSplit) -> np.ndarray:
    """Returns the positions of the first test images that an export decodes by itself."""
    indices = range(min(CHECKED_IMAGES, len(test)))
    if test.medium is None or not isinstance(test.medium.format, VideoFormat):
        return np.array(indices)
    video = test.medium.format
    return np.array([index for index in indices if not problem_in_graph(test.encoded(index), video)], int)


def said_beside(
    spoken: SpokenImages | None, measured: Mapping[str, CalibratedResult], truth: HeldOut
) -> SpeakerText | None:
    """Returns what a speaker says beside the network's own sentence, as an export takes it."""
    if spoken is None:
        return None
    _, text_weight = pool_answers(measured["text"].logits, spoken.logits, truth)
    return SpeakerText(
        spoken.speaker,
        spoken.bridge,
        spoken.temperature,
        spoken.head,
        measured["speaker_text"].temperature,
        text_weight,
    )


def export_questions(
    input_name: str,
    noun: str,
    test: ImageSplit,
    sentences: np.ndarray,
    of_images: np.ndarray,
    text: TextClassifier,
    temperature: float,
    trainer: Trainer,
) -> list[Question]:
    """Asks each signature about the first test images, of which there are calibrated logits (N, T).

    The texts are the first of the sentences (N, P) of these images.
    """
    indices = _asked_indices(test)
    images = {input_name: [test.encoded(index) for index in indices]}
    words = sentences[indices if len(indices) else slice(CHECKED_IMAGES), 0]
    text_inputs = {"text": [word.encode() for word in words]}
    text_logits = text.logits(words, trainer) / temperature
    if not len(indices):
        return [Question(text_inputs, softmax(text_logits), "text")]
    vectors = unit_vectors(text.vectors(sentences[indices].ravel(), trainer))
    vectors = tf.reshape(vectors, [len(words), -1, vectors.shape[-1]]).numpy()
    return [
        Question(images, softmax(of_images[indices])),
        Question(text_inputs, softmax(text_logits), "text"),
        Question(images | text_inputs, softmax((of_images[indices] + text_logits) / 2), f"{noun}_and_text"),
        Question(images, unit_vectors(vectors.mean(axis=1)).numpy(), f"embed_{noun}", "embedding"),
        Question(text_inputs, vectors[:, 0], "embed_text", "embedding"),
    ]


def small_forms(
    config: Config, images: TransferredImages, data: ImageData, exported: Path
) -> tuple[report.Table, ...]:
    """Makes smaller forms of the export, and measures them."""

    def examples(split: ImageSplit) -> Examples:
        indices = example_indices(len(split), config.run.seed)
        return Examples([split.encoded(index) for index in indices], split.labels[indices])

    return small_images(
        exported,
        images.classifier.model,
        image_size=config.data.image_size,
        max_pixels=config.data.max_pixels,
        temperature=images.temperature,
        names=data.class_names,
        representative=representative_images(data.train, config.run.seed),
        validation=examples(data.validation),
        test=examples(data.test),
    )
