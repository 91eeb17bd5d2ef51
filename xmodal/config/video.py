"""Videos, and the frames of them that are looked at."""

from dataclasses import dataclass

from xmodal.config.fields import Group, documented, option


@documented
@dataclass(frozen=True)
class VideoConfig(Group):
    """Videos as frames.

    Example:
        >>> VideoConfig(frames=4).frames
        4
    """

    frames: int = option(8, "Frames of a video that are looked at, at equal distances.", least=1, most=64)
