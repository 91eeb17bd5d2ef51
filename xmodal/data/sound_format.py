"""How sounds are read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SoundFormat:
    """What sounds become before they are seen.

    Attributes:
        rate: samples a second that they are brought to.
        seconds: of a spectrogram.
        max_seconds: of a sound; longer ones are left out.

    Example:
        >>> SoundFormat(rate=8000).seconds
        1.0
    """

    rate: int = 16_000
    seconds: float = 1.0
    max_seconds: float = 60.0
