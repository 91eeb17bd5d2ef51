"""The space that images and texts share, and what draws pictures from texts."""

from dataclasses import dataclass

SOLVERS = ("euler", "heun")


@dataclass(frozen=True)
class GeneratorConfig:
    """The space that images and texts share, and what draws pictures from texts."""

    space_width: int
    image_generator: str
    generator_widths: tuple[int, ...]
    generator_patch: int
    generator_epochs: int
    generator_batch_size: int
    generator_learning_rate: float
    generator_augment: tuple[str, ...]
    generator_ema: float
    unconditional: float
    guidance: float
    sampling_steps: int
    solver: str
    drawn: int
