"""Any classifier speaks: a map from its features into the space of sentences, taught by the classifier."""

import keras
import numpy as np

from xmodal.bridge.adaptation import LinearMap, Standardiser, on_raw_features, standardiser
from xmodal.bridge.name_answers import project, unit
from xmodal.evaluation.calibration import softmax
from xmodal.training.trainer import Trainer

# Chosen on training images of CIFAR-10, of which others measured: rates from 3e-4 to 1e-2, 1 to 30 epochs.
# What is higher or longer fits better, and says less of words that are no names.
LEARNING_RATE = 3e-4
EPOCHS = 4
BATCH = 256
# Of the least squares that training starts from, per image.
RIDGE = 1e-3


def train_projection(
    features: np.ndarray,
    logits: np.ndarray,
    names: np.ndarray,
    trainer: Trainer,
    *,
    epochs: int = EPOCHS,
    name: str = "",
) -> LinearMap:
    """Teaches a map from features to sentences, so that the names' vectors give the classifier's answers.

    TextUnlock (U-F2-CBM, arXiv:2503.10981): the softmax over the names of u . v_n, with u what the map makes
    of an image, is to be the classifier's own distribution, by cross-entropy. No label is used. It starts
    from least squares, see `name_answers.project`. Any word can be compared with u, not names alone.

    Args:
        features: of unlabelled images, what the classifier's last layer reads (B, D).
        logits: of the classifier (B, N).
        names: vectors of the sentences of its names (N, E).
        trainer: trains the map.
        epochs: passes over the images.
        name: what progress and checkpoints call it; "" keeps nothing.

    Returns:
        A map of features (B, D) to vectors among those of sentences (B, E).

    Example:
        >>> random = np.random.default_rng(0)
        >>> names, features = np.eye(4), random.normal(size=(100, 6))
        >>> logits = features @ random.normal(size=(6, 4))
        >>> vectors = train_projection(features, logits, names, Trainer())(features)
        >>> bool(np.mean((vectors @ names.T).argmax(axis=1) == logits.argmax(axis=1)) > 0.9)
        True
    """
    standardise = standardiser(features)
    # Of mean square 1: rates are for that.
    scale = standardise.scale / np.sqrt(features.shape[1])
    x = (features - standardise.mean) / scale
    vectors = project(logits, names)
    middle = vectors.mean(axis=0)
    gram = x.T @ x / len(x) + RIDGE * np.eye(x.shape[1])
    start = np.linalg.solve(gram, x.T @ (vectors - middle) / len(x))
    with trainer.scope():
        space = keras.layers.Dense(names.shape[1], name="projection")
        answers = keras.layers.Dense(len(names), use_bias=False, trainable=False, dtype="float32")
        model = keras.Sequential([keras.Input((x.shape[1],)), space, answers])
        space.set_weights([start, middle])
        answers.set_weights([unit(names).T])
    trainer.fit(
        model,
        (x.astype(np.float32), softmax(logits).astype(np.float32)),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        learning_rate=LEARNING_RATE,
        epochs=epochs,
        batch_size=BATCH,
        name=name,
    )
    kernel, bias = (np.asarray(array, np.float64) for array in space.get_weights())
    return on_raw_features(Standardiser(standardise.mean, scale), kernel, bias)
