"""What draws pictures from texts, as they are typed: the run's own generator, saved, or one of keras-nlp."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import keras
import keras_nlp
import numpy as np
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.core.files import write_json
from xmodal.core.records import Between, read_record
from xmodal.core.sums import check_sums, summed_folder
from xmodal.export.picture_index import ServedTexts
from xmodal.export.serving import Inference
from xmodal.tasks.image_generator import Sampling, as_pixels, generate_images, noise_for, ode_step

FACTS = "generator.json"
PRESET = "preset:"
REMEDY = "give the folder of one that `experiment=text_to_image` saved, or preset:NAME"
Side = Annotated[int, Between(1, 4096)]

# Texts (N,) and a seed -> pictures (N, H, W, 3) uint8.
ImageGenerator = Callable[[Sequence[str], int], np.ndarray]


@dataclass(frozen=True)
class Facts:
    """What a generator says of itself: the shape (H, W, channels) of its pictures, and its `Sampling`."""

    shape: tuple[Side, Side, Annotated[int, Between(1, 3)]]
    steps: Annotated[int, Between(1, 100_000)]
    guidance: Annotated[float, Between(-1e6, 1e6)]
    solver: Literal["euler", "heun"]


class ServedGenerator(tf.Module):
    """Texts, as they are typed -> pictures, as a SavedModel keeps it.

    Args:
        texts: texts -> vectors.
        model: the network that draws, as `xmodal.models.unet.unet` builds it.
        sampling: how it is followed.
    """

    def __init__(self, texts: ServedTexts, model: keras.Model, sampling: Sampling):
        super().__init__()
        self._texts = texts
        self._model = Inference(model)
        self.sampling = sampling
        self.shape = tuple(model.input["image"].shape[1:])
        images = tf.TensorSpec([None, *self.shape], tf.float32, name="images")
        vectors = tf.TensorSpec([None, model.input["text"].shape[1]], tf.float32, name="texts")
        scalars = [tf.TensorSpec([], tf.float32, name=name) for name in ("start", "end", "guidance")]
        self.move = tf.function(self._move, input_signature=[images, vectors, *scalars], autograph=False)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([], tf.int32, name="seed"),
        ],
        autograph=False,
    )
    def draw(self, text, seed):
        """Texts (B,) and a seed -> "png" (B,), encoded pictures."""
        vectors = self._texts.embed_texts(text)["embedding"]
        steps, guidance = self.sampling.steps, tf.constant(self.sampling.guidance)

        def follow(number, images):
            start = tf.cast(number, tf.float32) / steps
            end = tf.cast(number + 1, tf.float32) / steps
            return number + 1, self._move(images, vectors, start, end, guidance)["images"]

        noise = noise_for(tf.shape(text)[0], self.shape, (seed, 0))
        _, images = tf.while_loop(lambda number, _: number < steps, follow, (tf.constant(0), noise))
        return {"png": tf.map_fn(tf.io.encode_png, as_pixels(images), fn_output_signature=tf.string)}

    def signatures(self) -> dict[str, Callable]:
        """Returns the functions that are served, by name."""
        return {"serving_default": self.draw, "embed_text": self._texts.embed_texts, "move": self.move}

    def _move(self, images, texts, start, end, guidance):
        def velocity(inputs):
            return self._model(inputs)

        solver = self.sampling.solver
        return {"images": ode_step(velocity, images, texts, start, end, guidance, solver=solver)}


def save_generator(folder: Path, served: ServedGenerator) -> None:
    """Saves a generator as a SavedModel, whole or not at all; `folder` must not be there."""
    with summed_folder(folder) as temporary:
        tf.saved_model.save(served, str(temporary), signatures=served.signatures())
        write_json(temporary / FACTS, {"shape": served.shape, **asdict(served.sampling)})


def load_generator(folder: Path, steps: int | None = None, guidance: float | None = None) -> ImageGenerator:
    """Loads a generator.

    Args:
        folder: as `save_generator` wrote it.
        steps, guidance: in the place of its own.

    Raises:
        UserError: when there is none.
    """
    try:
        facts = read_record(Facts, folder / FACTS)
        check_sums(folder, REMEDY)
        model = tf.saved_model.load(str(folder))
        embed, move = model.signatures["embed_text"], model.signatures["move"]
    except UserError:
        raise
    # What TensorFlow says of a model that it cannot load may be anything.
    except Exception as error:
        raise UserError(
            f"`model={folder}` is no generator ({type(error).__name__}: {_short(error)})",
            REMEDY,
        ) from error
    sampling = Sampling(
        steps or facts.steps, facts.guidance if guidance is None else guidance, solver=facts.solver
    )

    def move_images(images, texts, start, end, guidance):
        # The model is held too: its variables live as long as it does.
        _ = model
        return move(images=images, texts=texts, start=start, end=end, guidance=guidance)["images"]

    def paint(texts: Sequence[str], seed: int) -> np.ndarray:
        vectors = embed(text=tf.constant(list(texts)))["embedding"].numpy()
        return generate_images(
            move_images, noise_for(len(vectors), facts.shape, (seed, 0)), vectors, sampling
        )

    return paint


def preset_generator(name: str, *, steps: int, guidance: float, offline: bool = False) -> ImageGenerator:
    """Loads a text-to-image model of keras-nlp, such as Stable Diffusion 3.

    Args:
        name: a preset such as "stable_diffusion_3_medium", hf://..., or a folder that has one.
        steps, guidance: of its sampler.
        offline: make no attempt to fetch.

    Raises:
        UserError: when it cannot be had.
    """
    if offline and not Path(name).is_dir():
        raise UserError(
            f"`image_generator=preset:{name}` would be fetched, which `offline` forbids", "give its folder"
        )
    try:
        model = keras_nlp.models.TextToImage.from_preset(name)
    except Exception as error:
        preset_names = ", ".join(sorted(keras_nlp.models.TextToImage.presets)[:4])
        raise UserError(
            f"the text-to-image model {name!r} could not be loaded ({type(error).__name__}: {_short(error)})",
            f"check the name (there are {preset_names} and others) and the network",
        ) from error

    def paint(texts: Sequence[str], seed: int) -> np.ndarray:
        bar = keras.utils.Progbar(len(texts), unit_name="picture")
        pictures = []
        for number, text in enumerate(texts):
            # One by one: what fits into the memory of a graphics card is not known here.
            picture = model.generate(text, num_steps=steps, guidance_scale=guidance, seed=seed + number)
            pictures.append(np.asarray(picture))
            bar.add(1)
        return np.stack(pictures).astype(np.uint8)

    return paint


def _short(error: Exception) -> str:
    return textwrap.shorten(str(error), 200)
