"""The training of an image classifier as the settings of a run ask for it."""

import keras
import tensorflow as tf

from xmodal.config.config import Config
from xmodal.data.images import ImageData
from xmodal.evaluation.metrics import Held
from xmodal.tasks.image_classifier import ImageClassifier, pixels, train_image_classifier
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.prediction import predict


def train_images(
    config: Config,
    data: ImageData,
    trunk: keras.Model,
    trainable: str,
    strategy: tf.distribute.Strategy,
    stage: str,
    checkpoints: Checkpoints | None = None,
    cache: FeatureCache | None = None,
    budget: float = 0.0,
) -> tuple[ImageClassifier, Held]:
    """Trains a head on a trunk, and returns the class logits of the held-out images with it."""
    classifier = train_image_classifier(
        trunk,
        data,
        data_config=config.data,
        config=config.image,
        trainable=trainable,
        seed=config.run.seed,
        strategy=strategy,
        stage=stage,
        checkpoints=checkpoints,
        cache=cache,
        training=config.train,
        budget=budget,
        mirror=config.image.mirror,
    )
    images = pixels(data.test, config.data.image_size, 4 * config.image.batch_size)
    test = predict(classifier.model, images, strategy, stage=f"{stage}: test", checkpoints=checkpoints)
    return classifier, Held(classifier.validation_logits, test)
