"""The stages of `text_to_image`, each kept when it is done."""

import keras
import numpy as np
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.bridge.captions import Captions, draw_captions, with_descriptions, write_captions
from xmodal.config.config import Config
from xmodal.data.batches import array_batches
from xmodal.data.examples import SPLITS
from xmodal.data.images import ImageData
from xmodal.data.target_map import read_descriptions
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.metrics import HeldOut
from xmodal.evaluation.ranking import class_scores
from xmodal.export.generator import PRESET, ImageGenerator, preset_generator
from xmodal.models.legibility import require_told_apart
from xmodal.models.text_encoder import TextEncoder, text_encoder
from xmodal.recipes.image_training import train_images
from xmodal.recipes.text_to_image.tables import EmbeddedCaptions, GeneratedImages
from xmodal.runs.inputs import build_backbone
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import ImageClassifier, backbone_features
from xmodal.tasks.image_generator import (
    Sampling,
    generate_images,
    make_sampler_step,
    noise_for,
    train_generator,
)
from xmodal.tasks.shared_space import SharedSpace, project, sentence_vectors, train_shared_space
from xmodal.training.checkpoint import State
from xmodal.training.progress import History


def captions_of(
    session: Session, data: ImageData
) -> tuple[TextEncoder, dict[str, tuple[Captions, np.ndarray]]]:
    """Writes what is said of the classes, and encodes it.

    Returns:
        BERT; and "learned" captions with their vectors (M, D), and "unseen" ones with theirs.

    Raises:
        UserError: when BERT reads captions of two classes as the same.
    """
    config = session.config
    learned_captions, unseen_captions = write_captions(data.class_names)
    if config.scorer.class_descriptions:
        learned_captions = with_descriptions(
            learned_captions, *read_descriptions(config.scorer.class_descriptions, data.class_names)
        )
    with session.trainer.strategy.scope():
        encoder = text_encoder(session.text_encoder(), config.text.sequence_length)
    for part in (learned_captions, unseen_captions):
        require_told_apart(encoder, part.texts, part.labels, data.class_names, config.text.text_encoder)
    vectors = [
        sentence_vectors(encoder, part.texts, session.trainer) for part in (learned_captions, unseen_captions)
    ]
    return encoder, {"learned": (learned_captions, vectors[0]), "unseen": (unseen_captions, vectors[1])}


def features_of(session: Session, backbone: keras.Model, data: ImageData) -> dict[str, np.ndarray]:
    """Returns what the backbone makes of the images of each split (N, D)."""
    image, trainer = session.config.image, session.trainer
    return {
        name: np.asarray(
            backbone_features(backbone, getattr(data, name), image, trainer, name=f"features: {name}")
        )
        for name in SPLITS
    }


def train_evaluator(session: Session, data: ImageData) -> tuple[ImageClassifier, HeldOut]:
    """Trains the classifier that reads what is drawn, on real images, and asks it about the held-out ones."""
    config, image = session.config, session.config.image
    backbone = build_backbone(config, image.base, image.image_weights, session.trainer)
    return train_images(backbone, data, image, session.trainer, name="judge")


def space_of(
    session: Session, data: ImageData, features: dict[str, np.ndarray], learned: tuple
) -> SharedSpace:
    """Trains the space that images and texts share."""
    config = session.config
    captions, vectors = learned
    return train_shared_space(
        (features["train"], data.train.labels),
        (features["validation"], data.validation.labels),
        vectors,
        captions,
        config.image,
        session.trainer,
        width=config.generator.space_width,
        scale=config.text.similarity_scale,
    )


def ready_generator(config: Config) -> ImageGenerator | None:
    """Loads a ready generator, None where it is to be trained; mistakes are reported before any training."""
    generator = config.generator
    if not generator.image_generator.startswith(PRESET):
        return None
    return preset_generator(
        generator.image_generator.removeprefix(PRESET),
        steps=generator.sampling_steps,
        guidance=generator.guidance,
        offline=config.run.offline,
    )


def build_generator(
    session: Session,
    data: ImageData,
    encoder: TextEncoder,
    space: SharedSpace,
    learned: EmbeddedCaptions,
    ready: ImageGenerator | None,
) -> tuple[ImageGenerator, keras.Model | None, History | None]:
    """Trains the generator, unless a ready one is given.

    Returns:
        The generator, and where it was trained its network and history.
    """
    config, generator = session.config, session.config.generator
    if ready:
        return ready, None, None
    model, history = train_generator(
        data.train,
        learned.embeddings,
        learned.captions,
        generator,
        session.trainer,
        image_size=config.data.image_size,
    )
    sampling, shape = sampling_of(config), model.input["image"].shape[1:]
    sampler_step = make_sampler_step(model, sampling.solver)

    def generate_from_texts(texts, seed: int) -> np.ndarray:
        distinct_texts, index = np.unique(np.asarray(texts, object), return_inverse=True)
        embeddings = project(
            space.text_head, sentence_vectors(encoder, distinct_texts, session.trainer), session.trainer
        )
        return generate_images(
            sampler_step, noise_for(len(index), shape, (seed, 0)), embeddings[index], sampling
        )

    return generate_from_texts, model, history


def sampling_of(config: Config) -> Sampling:
    """Returns how the flags want pictures drawn."""
    generator = config.generator
    return Sampling(generator.sampling_steps, generator.guidance, generator.solver)


def generate_set(
    session: Session, generate: ImageGenerator, embedded: EmbeddedCaptions, data: ImageData, name: str
) -> GeneratedImages:
    """Draws pictures from captions, with the classes as frequent as among the test images."""
    config = session.config
    order = np.random.default_rng(config.run.seed).permutation(len(data.test))[: config.generator.drawn]
    seed = (config.run.seed, len(embedded.captions))
    captions = draw_captions(embedded.captions, data.test.labels[order], len(data.class_names), seed)
    size = config.data.image_size

    def pictures() -> np.ndarray:
        images = generate(list(embedded.captions.texts[captions]), config.run.seed)
        if images.shape[1] == size:
            return images
        resized_images = [
            tf.image.resize(picture, (size, size), antialias=True).numpy() for picture in images
        ]
        return np.clip(np.round(np.stack(resized_images)), 0, 255).astype(np.uint8)

    stage = f"drawing: {name}"
    state = session.trainer.once(stage, lambda: State({"outputs": pictures()}, {"stage": stage}))
    return GeneratedImages(state.arrays["outputs"], embedded.captions, captions)


def embed_captions(
    session: Session, space: SharedSpace, captions: Captions, vectors: np.ndarray
) -> EmbeddedCaptions:
    """Places captions in the shared space."""
    return EmbeddedCaptions(captions, vectors, project(space.text_head, vectors, session.trainer))


def answers_through_text(
    session: Session, logits, encoder, space, learned: EmbeddedCaptions, data: ImageData
) -> np.ndarray:
    """Puts the judge's probabilities into sentences, and reads these by the nearest learned captions."""
    text = session.config.text
    bridge = Bridge(data.class_names, text.text_style, text.template, text.top_k)
    # The first wording: one embedding for each image.
    sentences = bridge.sentences(tf.nn.softmax(tf.constant(logits)))[:, 0].numpy()
    distinct_sentences, index = np.unique(
        np.char.decode(sentences.astype(bytes), "utf-8"), return_inverse=True
    )
    vectors = sentence_vectors(encoder, distinct_sentences.astype(object), session.trainer)
    answers = answers_by_text(project(space.text_head, vectors, session.trainer), space, learned, data)
    return answers[index]


def answers_by_text(
    embeddings: np.ndarray, space: SharedSpace, learned: EmbeddedCaptions, data: ImageData
) -> np.ndarray:
    """Answers embeddings in the shared space by the nearest learned captions."""
    scores = space.scale * embeddings @ learned.embeddings.T
    return class_scores(scores, learned.captions.labels, len(data.class_names))


def evaluator_answers(
    session: Session, evaluator: ImageClassifier, pictures: GeneratedImages, temperature: float, name: str
) -> np.ndarray:
    """Returns the judge's probabilities for drawn pictures."""
    batches = array_batches(pictures.pictures.astype(np.float32), batch_size=256)
    stage = f"judge: pictures of {name} wordings"
    logits = session.trainer.predict(evaluator.model, batches, name=stage)
    return softmax(logits, temperature)
