"""What an answer promises."""

from dataclasses import dataclass

from xmodal.config.fields import Group, option


@dataclass(frozen=True)
class TrustConfig(Group):
    """What an answer promises."""

    max_error: float = option(
        0.05,
        "How often the set of answers may lack the right one, and an input of the known kind may be called "
        "none of these; the export tells both beside its answer.",
        above=0,
        below=1,
    )
