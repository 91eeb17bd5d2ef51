"""What an answer promises, and what made it."""

from dataclasses import dataclass

from xmodal.config.fields import Group, option


@dataclass(frozen=True)
class TrustConfig(Group):
    """What an answer promises, and what made it."""

    max_error: float = option(
        0.05,
        "How often the set of answers may lack the right one, and an input of the known kind may be called "
        "none of these; the export tells both beside its answer.",
        above=0,
        below=1,
    )
    explained: int = option(
        4,
        "Test examples, half of them answered wrongly, of which report.html tells what made the answer; each "
        "takes some hundred questions. 0 for none.",
        least=0,
    )
