"""The shared image-text space, and the image generator."""

from dataclasses import dataclass

from xmodal.config.fields import MAX_IN_BATCH, MAX_SIDE, MAX_UNITS, Group, option
from xmodal.config.image import AUGMENTATIONS
from xmodal.core.errors import UserError

SOLVERS = ("euler", "heun")


@dataclass(frozen=True)
class GeneratorConfig(Group):
    """The shared image-text space, and the image generator."""

    space_width: int = option(
        128, "Dimension of the shared image-text embedding space.", least=1, most=MAX_UNITS
    )
    image_generator: str = option(
        "flow",
        "flow (trained in the run), or preset:NAME, a text-to-image model of KerasHub.",
    )
    generator_widths: tuple[int, ...] = option(
        ("32", "64", "128"),
        "Channels of the U-Net's levels, each at half the resolution of the one before.",
        least=1,
        most=MAX_UNITS,
        parse=int,
        filled=True,
    )
    generator_patch: int = option(
        2,
        "Patch size of the U-Net's first level, in pixels.",
        least=1,
        most=MAX_SIDE,
    )
    generator_epochs: int = option(100, "Epochs of the generator.", least=1)
    generator_batch_size: int = option(128, "Global batch size of the generator.", least=1, most=MAX_IN_BATCH)
    generator_learning_rate: float = option(1e-3, "Peak learning rate of the generator.", least=0)
    generator_augment: tuple[str, ...] = option(
        (), "Augmentations of the images that the generator is trained on.", choices=AUGMENTATIONS
    )
    generator_ema: float = option(
        0.995, "Decay of the exponential moving average of the generator's weights.", least=0, most=1.0
    )
    unconditional: float = option(
        0.1, "Probability of dropping the text condition during training.", least=0, most=0.9
    )
    guidance: float = option(2.0, "Classifier-free guidance scale; 1 disables guidance.", least=0)
    sampling_steps: int = option(20, "ODE solver steps per image.", least=1)
    solver: str = option("euler", "ODE solver; heun evaluates the network twice per step.", choices=SOLVERS)
    drawn: int = option(
        1000,
        "Images that are generated to be measured, from templates seen in training and as many from "
        "held-out ones.",
        least=1,
    )

    def __post_init__(self):
        super().__post_init__()
        kind, _, name = self.image_generator.partition(":")
        if self.image_generator != "flow" and not (kind == "preset" and name):
            raise UserError(
                f"`image_generator={self.image_generator}` is not known", "write flow or preset:NAME"
            )
