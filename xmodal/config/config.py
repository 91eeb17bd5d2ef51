"""All settings of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

from xmodal.config.attack import AttackConfig
from xmodal.config.bench import BenchConfig
from xmodal.config.data import DataConfig, DocumentConfig, PairConfig, SplitConfig
from xmodal.config.fields import Group, options_of
from xmodal.config.flagfiles import flag_line
from xmodal.config.fusion import FusionConfig
from xmodal.config.generator import GeneratorConfig
from xmodal.config.image import ImageConfig
from xmodal.config.names import NamesConfig
from xmodal.config.run import RunConfig
from xmodal.config.scorer import ScorerConfig
from xmodal.config.search import SearchConfig
from xmodal.config.sound import SoundConfig
from xmodal.config.text import TextConfig
from xmodal.config.training import TrainConfig
from xmodal.config.trust import TrustConfig
from xmodal.config.video import VideoConfig
from xmodal.core.errors import UserError


@dataclass(frozen=True)
class Config:
    """All that a recipe is told, and the text of the flags that say it again.

    Raises:
        UserError: when options of several groups do not fit together.
    """

    run: RunConfig = field(default_factory=RunConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    splits: SplitConfig = field(default_factory=SplitConfig)
    data: DataConfig = field(default_factory=DataConfig)
    sound: SoundConfig = field(default_factory=SoundConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    documents: DocumentConfig = field(default_factory=DocumentConfig)
    pairs: PairConfig = field(default_factory=PairConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    text: TextConfig = field(default_factory=TextConfig)
    scorer: ScorerConfig = field(default_factory=ScorerConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    names: NamesConfig = field(default_factory=NamesConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    attack: AttackConfig = field(default_factory=AttackConfig)
    bench: BenchConfig = field(default_factory=BenchConfig)
    flagfile: str = ""

    def __post_init__(self):
        if self.train.data_service and self.run.deterministic:
            raise UserError(
                f"`data_service={self.train.data_service}` brings batches in no fixed order",
                "leave it or `deterministic` out",
            )
        for name in ("small", "portable"):
            if getattr(self.run, name):
                self._require_float32_export(name)

    def value(self, name: str) -> Any:
        """Returns the value of an option of any group."""
        groups = (getattr(self, part) for part in GROUPS)
        return next(getattr(group, name) for group in groups if hasattr(group, name))

    def with_values(self, values: Mapping[str, Any]) -> "Config":
        """Returns the same with other values of some options, of any group; its flagfile says them too.

        Args:
            values: by the options' names; none of them is True or False, or given by a flag for each value.

        Raises:
            UserError: for a value out of an option's limits.
        """
        changed_groups = {
            part: replace(getattr(self, part), **group_values)
            for part, group in GROUPS.items()
            if (group_values := {name: values[name] for name, _ in options_of(group) if name in values})
        }
        lines = [
            flag_line(name, values[name]) if name in values else line
            for line in self.flagfile.splitlines()
            for name in [line.lstrip("-").partition("=")[0]]
        ]
        return replace(self, **changed_groups, flagfile="".join(f"{line}\n" for line in lines))

    def _require_float32_export(self, name: str) -> None:
        if not self.run.export:
            raise UserError(
                f"`{name}` makes other forms of the export, and `export=False` makes none",
                f"add `{name}=False`, or leave out `export=False`",
            )
        if self.train.precision != "float32":
            raise UserError(
                f"`{name}` makes other forms of float32, and "
                f"`precision={self.train.precision}` is another one",
                f"add `{name}=False`, or leave out `precision`",
            )


# The groups of options by the name that `Config` gives them.
GROUPS: dict[str, type[Group]] = {
    name: group for name, group in get_type_hints(Config).items() if issubclass(group, Group)
}
