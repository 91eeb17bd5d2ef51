"""All settings of a run."""

from dataclasses import dataclass

from xmodal.config.attack import AttackConfig
from xmodal.config.data import DataConfig, DocumentConfig, PairConfig
from xmodal.config.fusion import FusionConfig
from xmodal.config.generator import GeneratorConfig
from xmodal.config.image import ImageConfig
from xmodal.config.run import RunConfig
from xmodal.config.scorer import ScorerConfig
from xmodal.config.text import TextConfig
from xmodal.config.training import TrainConfig


@dataclass(frozen=True)
class Config:
    """All that a recipe is told, and the text of the flags that say it again."""

    run: RunConfig
    train: TrainConfig
    data: DataConfig
    documents: DocumentConfig
    pairs: PairConfig
    image: ImageConfig
    text: TextConfig
    scorer: ScorerConfig
    fusion: FusionConfig
    generator: GeneratorConfig
    attack: AttackConfig
    flagfile: str
