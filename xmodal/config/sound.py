"""Sounds, and the spectrograms that are made of them."""

from dataclasses import dataclass

from xmodal.config.fields import Group, documented, option

# Beside "shift", which moves a sound in time, these are for spectrograms alone.
SOUND_AUGMENTATIONS = ("shift", "speed", "pitch", "mask", "noise")


@documented
@dataclass(frozen=True)
class SoundConfig(Group):
    """Sounds as spectrograms: log-mel pictures of `image_size`.

    Example:
        >>> SoundConfig(sound_rate=8000).sound_seconds
        1.0
    """

    sound_rate: int = option(
        16_000,
        "Samples a second that sounds are brought to; half of it is the highest frequency.",
        least=4_000,
        most=48_000,
    )
    sound_seconds: float = option(
        1.0,
        "Seconds of a spectrogram: shorter sounds are in its middle, of longer ones several are read.",
        least=0.05,
        most=60.0,
    )
    max_seconds: float = option(
        60.0,
        "Maximum seconds per sound or video; longer ones are left out before they are decoded.",
        above=0,
        most=3_600.0,
    )
