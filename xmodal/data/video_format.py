"""How videos are read."""

from dataclasses import dataclass

# Decoded, that many pixels of all frames that are kept take 300 MB.
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class VideoFormat:
    """What videos become before they are seen.

    Attributes:
        frames: of a video that are looked at, at equal distances; a shorter one has fewer.
        max_seconds: of a video; longer ones are left out.
        max_pixels: of these frames together; what has more is left out before it is decoded.

    Example:
        >>> VideoFormat(frames=4).max_seconds
        60.0
    """

    frames: int = 8
    max_seconds: float = 60.0
    max_pixels: int = MAX_PIXELS
