"""The stages of `text_to_image`, each kept when it is done."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from xmodal.assets.presets import text_encoder_path
from xmodal.bridge.bridge import Bridge
from xmodal.bridge.captions import Captions, drawn_captions, with_descriptions, written_captions
from xmodal.config.config import Config
from xmodal.core.files import cache_folder
from xmodal.data.batches import array_batches
from xmodal.data.images import ImageData
from xmodal.data.splits import SPLITS
from xmodal.data.target_map import read_descriptions
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.ranking import class_scores
from xmodal.export.painter import PRESET, Painter, preset_painter
from xmodal.models.text_encoder import TextEncoder, text_encoder
from xmodal.recipes.text_to_image.tables import Drawn, Told
from xmodal.runs.inputs import build_trunk, feature_cache
from xmodal.runs.session import Job
from xmodal.tasks.image_classifier import ImageClassifier, pixels, train_image_classifier, trunk_features
from xmodal.tasks.image_generator import Sampling, drawn, mover, noise_for, train_generator
from xmodal.tasks.shared_space import SharedSpace, projected, sentence_vectors, train_shared_space
from xmodal.training.checkpoint import Checkpoints, State
from xmodal.training.prediction import predict
from xmodal.training.progress import History, newest
from xmodal.training.strategy import workers


def captions_of(job: Job, data: ImageData) -> tuple[TextEncoder, tuple, tuple]:
    """Writes what is said of the classes, and encodes it.

    Returns:
        BERT; learned captions and their vectors (M, D); unseen ones and theirs.
    """
    config = job.config
    learned, unseen = written_captions(data.class_names)
    if config.scorer.class_descriptions:
        learned = with_descriptions(
            learned, *read_descriptions(config.scorer.class_descriptions, data.class_names)
        )
    preset = text_encoder_path(config.text.text_encoder, cache=cache_folder(), offline=config.run.offline)
    with job.strategy.scope():
        encoder = text_encoder(preset, config.text.sequence_length)
    vectors = [sentence_vectors(encoder, part.texts, job.strategy) for part in (learned, unseen)]
    return encoder, (learned, vectors[0]), (unseen, vectors[1])


def features_of(job: Job, trunk: keras.Model, data: ImageData) -> dict[str, np.ndarray]:
    """Returns what the trunk sees in the images of each split (N, D)."""
    config = job.config
    cache = feature_cache(config, workers(job.strategy).is_chief, job.clock.say)
    return {
        name: np.asarray(
            trunk_features(
                trunk,
                getattr(data, name),
                data_config=config.data,
                config=config.image,
                seed=config.run.seed,
                strategy=job.strategy,
                stage=f"features: {name}",
                checkpoints=job.checkpoints,
                cache=cache,
            )
        )
        for name in SPLITS
    }


def judge_of(job: Job, data: ImageData) -> tuple[ImageClassifier, np.ndarray]:
    """Trains the classifier that reads what is drawn, on real images, and asks it about the test images."""
    config = job.config
    judge = train_image_classifier(
        build_trunk(config, config.image.base, config.image.image_weights, job.strategy),
        data,
        data_config=config.data,
        config=config.image,
        trainable=config.image.trainable,
        seed=config.run.seed,
        strategy=job.strategy,
        stage="judge",
        checkpoints=job.checkpoints,
        cache=feature_cache(config, workers(job.strategy).is_chief, job.clock.say),
        training=config.train,
    )
    images = pixels(data.test, config.data.image_size, 4 * config.image.batch_size)
    return judge, predict(judge.model, images, job.strategy, stage="judge: test", checkpoints=job.checkpoints)


def space_of(job: Job, data: ImageData, features: dict[str, np.ndarray], learned: tuple) -> SharedSpace:
    """Trains the space that images and texts share."""
    config = job.config
    captions, vectors = learned
    return train_shared_space(
        features["train"],
        data.train.labels,
        vectors,
        captions,
        held_out=(features["validation"], data.validation.labels),
        classes=len(data.class_names),
        width=config.generator.space_width,
        scale=config.text.similarity_scale,
        config=config.image,
        seed=config.run.seed,
        strategy=job.strategy,
        stage="shared space",
        checkpoints=job.checkpoints,
        training=config.train,
    )


def painter_of(
    job: Job, data: ImageData, encoder: TextEncoder, space: SharedSpace, learned: Told
) -> tuple[Painter, keras.Model | None, History | None]:
    """Trains what draws, or loads it.

    Returns:
        What draws, and of the flow its network and history.
    """
    config, generator = job.config, job.config.generator
    if generator.image_generator.startswith(PRESET):
        name = generator.image_generator.removeprefix(PRESET)
        paint = preset_painter(
            name,
            steps=generator.sampling_steps,
            guidance=generator.guidance,
            offline=config.run.offline,
        )
        return paint, None, None
    model, history = train_generator(
        data.train,
        learned.places,
        learned.captions,
        classes=len(data.class_names),
        image_size=config.data.image_size,
        config=generator,
        augment=generator.generator_augment,
        seed=config.run.seed,
        strategy=job.strategy,
        stage="generator",
        checkpoints=job.checkpoints,
        training=config.train,
    )
    sampling, shape = sampling_of(config), model.input["image"].shape[1:]
    move = mover(model, sampling.solver)

    def paint_texts(texts, seed: int) -> np.ndarray:
        distinct, place = np.unique(np.asarray(texts, object), return_inverse=True)
        places = projected(space.text_head, sentence_vectors(encoder, distinct, job.strategy), job.strategy)
        return drawn(move, noise_for(len(place), shape, (seed, 0)), places[place], sampling)

    return paint_texts, model, history


def sampling_of(config: Config) -> Sampling:
    """Returns how the flags want pictures drawn."""
    generator = config.generator
    return Sampling(generator.sampling_steps, generator.guidance, generator.solver)


def draw(job: Job, paint: Painter, told: Told, data: ImageData, name: str) -> Drawn:
    """Draws pictures from captions, with the classes as frequent as among the test images."""
    config = job.config
    order = np.random.default_rng(config.run.seed).permutation(len(data.test))[: config.generator.drawn]
    seed = (config.run.seed, len(told.captions))
    captions = drawn_captions(told.captions, data.test.labels[order], len(data.class_names), seed)
    size = config.data.image_size

    def pictures() -> np.ndarray:
        painted = paint(list(told.captions.texts[captions]), config.run.seed)
        if painted.shape[1] == size:
            return painted
        resized = [tf.image.resize(picture, (size, size), antialias=True).numpy() for picture in painted]
        return np.clip(np.round(np.stack(resized)), 0, 255).astype(np.uint8)

    return Drawn(_once(job.checkpoints, f"drawing: {name}", pictures, job.strategy), told.captions, captions)


def _once(checkpoints: Checkpoints, stage: str, compute: Callable[[], np.ndarray], strategy) -> np.ndarray:
    """Returns what is computed, or was by this run before it was interrupted."""
    kept = checkpoints.stage(stage)
    found = newest(kept, strategy)
    if found:
        return found[0].arrays["outputs"]
    computed = compute()
    kept.finish(State({"outputs": computed}, {"stage": stage}))
    return computed


def told_of(job: Job, space: SharedSpace, captions: Captions, vectors: np.ndarray) -> Told:
    """Places captions in the shared space."""
    return Told(captions, vectors, projected(space.text_head, vectors, job.strategy))


def answers_through_text(job: Job, logits, encoder, space, learned: Told, data: ImageData) -> np.ndarray:
    """Puts the judge's probabilities into sentences, and reads these by the nearest learned captions."""
    text = job.config.text
    bridge = Bridge(data.class_names, text.text_style, text.template, text.top_k)
    # The first wording: one place in the space for each image.
    sentences = bridge.sentences(tf.nn.softmax(tf.constant(logits)))[:, 0].numpy()
    distinct, place = np.unique(np.char.decode(sentences.astype(bytes), "utf-8"), return_inverse=True)
    vectors = sentence_vectors(encoder, distinct.astype(object), job.strategy)
    read = answers_by_text(projected(space.text_head, vectors, job.strategy), space, learned, data)
    return read[place]


def answers_by_text(places: np.ndarray, space: SharedSpace, learned: Told, data: ImageData) -> np.ndarray:
    """Answers places in the shared space by the nearest learned captions."""
    scores = space.scale * places @ learned.places.T
    return class_scores(scores, learned.captions.labels, len(data.class_names))


def answers_of_judge(
    job: Job, judge: ImageClassifier, pictures: Drawn, temperature: float, name: str
) -> np.ndarray:
    """Returns the judge's probabilities for drawn pictures."""
    batches = array_batches(pictures.pictures.astype(np.float32), batch_size=256)
    stage = f"judge: pictures of {name} wordings"
    logits = predict(judge.model, batches, job.strategy, stage=stage, checkpoints=job.checkpoints)
    return softmax(logits, temperature)
