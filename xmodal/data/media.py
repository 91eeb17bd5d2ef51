"""What is not an image and is seen as pictures of it: sounds as spectrograms, videos as frames."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import tensorflow as tf

from xmodal.config.image import AUGMENTATIONS
from xmodal.config.sound import SOUND_AUGMENTATIONS
from xmodal.data.audit import Scan
from xmodal.data.sound_audit import look_at_sound
from xmodal.data.sound_augmentation import sound_draws
from xmodal.data.sound_batches import sound_reader
from xmodal.data.sound_files import as_wav
from xmodal.data.sound_format import SoundFormat
from xmodal.data.sounds import picture_of_sound
from xmodal.data.video_batches import video_draws, video_reader
from xmodal.data.video_format import VideoFormat
from xmodal.data.videos import look_at_video, strip_of


@dataclass(frozen=True)
class Medium:
    """How examples that are no images are read as pictures.

    Attributes:
        noun: what one of them is called.
        adjective: what results are called that are of them alone.
        pictures: what is seen of one.
        format: the settings of reading them.
        augmentations: kinds of changes of training pictures.
        look: what is wrong with an encoded one.
        encoded: the bytes of a file -> those that an export takes.
        picture: these -> an encoded picture of the whole, for people to look at.
        draws: a count and a seed -> what augmentation takes (B, D).
        reader: whether items are in memory, the side of pictures, kinds of augmentation, and `windows=` for
            all pictures of each -> what reads items (B,) with their draws or none.
    """

    noun: str
    adjective: str
    pictures: str
    format: SoundFormat | VideoFormat
    augmentations: tuple[str, ...]
    look: Callable[[bytes], Scan]
    encoded: Callable[[bytes], bytes]
    picture: Callable[[bytes], bytes]
    draws: Callable[[Any, Any], tf.Tensor]
    reader: Callable[..., Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]]


def of_sounds(sound: SoundFormat) -> Medium:
    """Returns how sounds are read, as log-mel pictures."""
    return Medium(
        noun="sound",
        adjective="audio",
        pictures="spectrograms",
        format=sound,
        augmentations=SOUND_AUGMENTATIONS,
        look=partial(look_at_sound, max_seconds=sound.max_seconds),
        encoded=as_wav,
        picture=partial(picture_of_sound, config=sound),
        draws=sound_draws,
        reader=lambda in_memory, *arguments, **options: sound_reader(in_memory, sound, *arguments, **options),
    )


def of_videos(video: VideoFormat) -> Medium:
    """Returns how videos are read, as frames at equal distances."""
    return Medium(
        noun="video",
        adjective="video",
        pictures="frames",
        format=video,
        augmentations=AUGMENTATIONS,
        look=partial(look_at_video, video=video),
        encoded=bytes,
        picture=partial(strip_of, video=video),
        draws=video_draws,
        reader=lambda in_memory, *arguments, **options: video_reader(in_memory, video, *arguments, **options),
    )


@lru_cache(maxsize=16)
def trace_reader(
    medium: Medium, in_memory: bool, side: int, augment: tuple[str, ...], windows: bool
) -> Callable[..., tf.Tensor]:
    """Returns what reads items (B,) with their draws (B, D) or None, traced once for all epochs."""
    reader = medium.reader(in_memory, side, augment, windows=windows)

    @partial(tf.function, autograph=False, reduce_retracing=True)
    def read(items: tf.Tensor, row_draws: tf.Tensor | None) -> tf.Tensor:
        return reader(items, row_draws)

    return read
