"""The space that images and texts share, and what draws pictures from texts."""

from dataclasses import dataclass

from xmodal.config.fields import MOST_IN_BATCH, MOST_SIDE, MOST_UNITS, Group, option
from xmodal.config.image import AUGMENTATIONS
from xmodal.core.errors import UserError

SOLVERS = ("euler", "heun")


@dataclass(frozen=True)
class GeneratorConfig(Group):
    """The space that images and texts share, and what draws pictures from texts."""

    space_width: int = option(
        128, "Numbers of a vector in the space that images and texts share.", least=1, most=MOST_UNITS
    )
    image_generator: str = option(
        "flow",
        "What draws pictures: flow (trained in the run) or preset:NAME, a text-to-image model of keras-nlp.",
    )
    generator_widths: tuple[int, ...] = option(
        ("32", "64", "128"),
        "Channels of the U-Net's levels, each half as fine as the last.",
        least=1,
        most=MOST_UNITS,
        parse=int,
        filled=True,
    )
    generator_patch: int = option(
        2,
        "Side, in pixels, of the squares that the U-Net's first level sees as one.",
        least=1,
        most=MOST_SIDE,
    )
    generator_epochs: int = option(100, "Times that the generator sees each training image.", least=1)
    generator_batch_size: int = option(128, "Global batch of the generator.", least=1, most=MOST_IN_BATCH)
    generator_learning_rate: float = option(1e-3, "Peak rate of AdamW for the generator.", least=0)
    generator_augment: tuple[str, ...] = option((), "What the generator learns from.", choices=AUGMENTATIONS)
    generator_ema: float = option(
        0.995, "Momentum of the average of weights that the generator ends with.", least=0, most=1.0
    )
    unconditional: float = option(
        0.1, "Share of the images that the generator is told nothing about.", least=0, most=0.9
    )
    guidance: float = option(2.0, "How far pictures go past what a text asks; 1 goes just there.", least=0)
    sampling_steps: int = option(20, "Steps from noise to picture.", least=1)
    solver: str = option("euler", "How a step is taken; heun looks twice.", choices=SOLVERS)
    drawn: int = option(
        1000,
        "Pictures that are drawn to be measured, of learned wordings and as many of unseen ones.",
        least=1,
    )

    def __post_init__(self):
        super().__post_init__()
        kind, _, name = self.image_generator.partition(":")
        if self.image_generator != "flow" and not (kind == "preset" and name):
            raise UserError(
                f"`image_generator={self.image_generator}` is not known", "write flow or preset:NAME"
            )
