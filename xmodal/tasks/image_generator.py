"""Text -> pictures by a rectified flow: training and sampling.

A straight path leads from noise z to a picture x, x_t = (1 - t) z + t x for t from 0 to 1. A network learns
its velocity x - z from x_t, t and a text (Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022,
arXiv:2210.02747), and a picture is drawn by following what it says from t = 0 to 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import keras
import numpy as np
import tensorflow as tf

from xmodal.bridge.captions import Captions, by_class
from xmodal.config.generator import GeneratorConfig
from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError
from xmodal.data.batches import Batches
from xmodal.data.images import ImageSplit, batches
from xmodal.models.unet import unet
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.loop import fit
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.progress import History
from xmodal.training.rehearsal import Steps

# Mean and deviation of the logit of the times that are learned (Li and He 2025, arXiv:2511.13720).
TIMES = (-0.8, 0.8)

Velocity = Callable[[dict[str, tf.Tensor]], tf.Tensor]


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn.

    Attributes:
        steps: from noise to picture.
        guidance: how far to go past what the text asks, away from what is drawn without one: the scale w
            of v(none) + w (v(text) - v(none)) (Ho and Salimans 2022, arXiv:2207.12598); 1 goes just there.
        solver: "euler", or "heun" with two looks a step.
    """

    steps: int
    guidance: float
    solver: str


def flow_batches(
    split: ImageSplit,
    vectors: np.ndarray,
    captions: Captions,
    *,
    classes: int,
    image_size: int,
    channels: int,
    batch_size: int,
    seed: int,
    epoch: int,
    unconditional: float,
    augment: Sequence[str] = (),
) -> Batches:
    """One epoch of what the flow learns from: each picture on its way from noise, and its velocity there.

    Noise, time and caption follow from (seed, epoch) alone. Times are drawn from a logit-normal
    distribution (Esser et al. 2024, arXiv:2403.03206, 3.1), with more of them where noise prevails.

    Args:
        split: N images.
        vectors: of the captions (M, E).
        captions: M texts about the classes; each image gets one of its class.
        classes: C.
        image_size: side of the images in pixels.
        channels: 3, or 1 for pictures that are grey.
        batch_size: B.
        seed, epoch: what is drawn.
        unconditional: share of the images that are told nothing: their vector is zero.
        augment: kinds of augmentation, as `images.batches` takes them.

    Returns:
        Batches of ({"image", "time", "text"} as `unet` takes them, velocities (B, H, W, C), ones (B,)).
    """
    read = batches(
        split,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        shuffle=True,
        augment=augment,
        epoch=epoch,
        drop_remainder=len(split) > batch_size,
    )
    table, held = tf.constant(by_class(captions, classes)), tf.constant(vectors)

    # Drawn before devices share a batch: so a picture gets the same on any number of them.
    def add(number: tf.Tensor, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        size = tf.shape(rows["label"])[0]
        seeds = [tf.random.fold_in((seed, epoch), 4 * number + part, alg="philox") for part in range(4)]
        drawn = tf.random.stateless_uniform((2, size), seeds[0], alg="philox")
        place = tf.cast(drawn[0] * table.shape[1], tf.int32)
        caption = tf.gather(table, rows["label"])
        caption = tf.gather(caption, tf.minimum(place, table.shape[1] - 1), batch_dims=1)
        return rows | {
            "time": tf.sigmoid(
                TIMES[0] + TIMES[1] * tf.random.stateless_normal((size,), seeds[1], alg="philox")
            ),
            "noise": tf.random.stateless_normal(
                (size, image_size, image_size, channels), seeds[2], alg="philox"
            ),
            "caption": caption,
            "told": tf.cast(drawn[1] >= unconditional, tf.float32),
        }

    def learn(rows: dict[str, tf.Tensor]):
        pictures = read.read(rows)["image"][..., :channels] / 127.5 - 1
        noise, time = rows["noise"], rows["time"]
        share = time[:, None, None, None]
        text = tf.gather(held, rows["caption"]) * rows["told"][:, None]
        inputs = {"image": (1 - share) * noise + share * pictures, "time": time, "text": text}
        return inputs, pictures - noise, tf.ones_like(time)

    return replace(read, rows=read.rows.enumerate().map(add), read=learn)


def squared_error(velocities: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Returns the mean squared error of each velocity (B, H, W, C) -> (B,)."""
    return tf.reduce_mean(tf.square(outputs - velocities), axis=(1, 2, 3))


def train_generator(
    split: ImageSplit,
    vectors: np.ndarray,
    captions: Captions,
    *,
    classes: int,
    image_size: int,
    config: GeneratorConfig,
    augment: Sequence[str],
    seed: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    checkpoints: Checkpoints | None = None,
    training: TrainConfig | None = None,
) -> tuple[keras.Model, History]:
    """Trains the network that draws.

    Args:
        split: the training images.
        vectors: of the captions (M, E).
        captions: M texts about the classes.
        classes: C.
        image_size: side of the pictures in pixels.
        config: the network, its epochs, batch and rate, and the average of weights that it ends with.
        augment: kinds of augmentation.
        seed: of initial weights and all that is drawn.
        strategy: the tf.distribute strategy.
        stage: what progress, history and checkpoints call it.
        checkpoints: where its state is kept.
        training: optimizer, precision and what else is common to every training.

    Returns:
        The network, as `unet` builds it, and its history.

    Raises:
        UserError: when the pictures cannot be halved as often as the network does.
    """
    training = replace(training or TrainConfig(), ema=config.generator_ema)
    coarsest = config.generator_patch * 2 ** (len(config.generator_widths) - 1)
    if image_size % coarsest:
        raise UserError(
            f"`image_size={image_size}` is no multiple of {coarsest}, which `generator_patch` and "
            "`generator_widths` ask for",
            f"choose one, such as {coarsest * -(-image_size // coarsest)}",
        )
    channels = 1 if is_grey(split, image_size) else 3
    with strategy.scope():
        keras.utils.set_random_seed(seed)
        model = unet(image_size, vectors.shape[1], config.generator_widths, config.generator_patch, channels)
    history = fit(
        model,
        lambda epoch: flow_batches(
            split,
            vectors,
            captions,
            classes=classes,
            image_size=image_size,
            channels=channels,
            batch_size=config.generator_batch_size,
            seed=seed,
            epoch=epoch,
            unconditional=config.unconditional,
            augment=augment,
        ),
        loss=squared_error,
        optimizer=optimizer_maker(training, config.generator_learning_rate),
        epochs=config.generator_epochs,
        strategy=strategy,
        stage=stage,
        checkpoints=checkpoints,
        config=training,
        report_accuracy=False,
    )
    return model, history


def is_grey(split: ImageSplit, image_size: int) -> bool:
    """Tells whether no image of a split has a colour; then what is drawn needs none either."""
    for batch in batches(split, image_size=image_size, batch_size=256):
        if np.ptp(batch["image"].numpy(), axis=-1).max() > 0:
            return False
    return True


def guided(model: Velocity, images: tf.Tensor, time: tf.Tensor, texts: tf.Tensor, guidance) -> tf.Tensor:
    """Returns the velocities (B, H, W, 3) with classifier-free guidance, see `Sampling`.

    Args:
        model: as `unet` builds it.
        images: (B, H, W, 3).
        time: a scalar.
        texts: vectors (B, E).
        guidance: a scalar.
    """
    times = tf.fill([2 * tf.shape(images)[0]], time)
    both = {
        "image": tf.concat([images, images], axis=0),
        "time": times,
        "text": tf.concat([texts, tf.zeros_like(texts)], axis=0),
    }
    told, untold = tf.split(tf.cast(model(both), tf.float32), 2)
    return untold + guidance * (told - untold)


def step(model: Velocity, images, texts, start, end, guidance, *, solver: str) -> tf.Tensor:
    """Moves images (B, H, W, 3) from one time to another, by Euler's or Heun's method."""
    velocities = guided(model, images, start, texts, guidance)
    moved = images + (end - start) * velocities
    if solver == "euler":
        return moved
    return images + (end - start) * (velocities + guided(model, moved, end, texts, guidance)) / 2


def noise_for(count, shape: Sequence[int], seed: Sequence[int]) -> tf.Tensor:
    """Returns noise (count, H, W, C) for pictures of a shape (H, W, C); the same for the same seed (2,)."""
    return tf.random.stateless_normal((count, *shape), seed, alg="philox")


def drawn(
    move: Callable[..., tf.Tensor],
    noise: tf.Tensor,
    texts: np.ndarray,
    sampling: Sampling,
    *,
    batch_size: int = 250,
    shown: bool = True,
) -> np.ndarray:
    """Draws pictures, with a progress bar.

    Args:
        move: (images, texts, start, end, guidance) -> images, such as `mover` makes.
        noise: where they start (N, H, W, C).
        texts: vectors (N, E).
        sampling: steps and guidance.
        batch_size: how many at once.
        shown: whether the bar is.

    Returns:
        (N, H, W, 3) uint8.
    """
    times = np.linspace(0, 1, sampling.steps + 1, dtype=np.float32)
    starts = range(0, len(noise), batch_size)
    steps = Steps(len(starts) * sampling.steps)
    bar = keras.utils.Progbar(steps.most, verbose=int(shown), unit_name="step")
    pictures = []
    for first in starts:
        part = slice(first, first + batch_size)
        images, asked = noise[part], tf.constant(texts[part])
        for start, end in steps.few(pairwise(times)):
            images = move(images, asked, tf.constant(start), tf.constant(end), tf.constant(sampling.guidance))
            bar.add(1)
        pictures.append(as_pixels(images).numpy())
    steps.close()
    return np.concatenate(pictures)


def as_pixels(images: tf.Tensor) -> tf.Tensor:
    """Returns images (B, H, W, C) from -1 to 1 as RGB (B, H, W, 3) uint8."""
    pixels = tf.cast(tf.clip_by_value(tf.round((images + 1) * 127.5), 0, 255), tf.uint8)
    return tf.tile(pixels, [1, 1, 1, 3 // images.shape[-1]])


def mover(model: keras.Model, solver: str) -> Callable[..., tf.Tensor]:
    """Returns a traced step of a network, as `drawn` takes it."""

    @tf.function(reduce_retracing=True)
    def move(images, texts, start, end, guidance):
        def velocity(inputs):
            return model(inputs, training=False)

        return step(velocity, images, texts, start, end, guidance, solver=solver)

    return move
