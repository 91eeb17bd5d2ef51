"""What an export of pictures, sounds or videos is asked, and what is wrong with what it cannot be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from xmodal.core.errors import UserError
from xmodal.core.saved_models import find_signature
from xmodal.data.sound_format import SoundFormat

Outputs = Mapping[str, Any]
# The input of what a model sees or hears -> what one of these is called.
NOUNS = {"image_bytes": "picture", "audio_bytes": "sound", "video_bytes": "video"}


@dataclass(frozen=True)
class AskedMedium:
    """How a model is asked of what it sees or hears.

    Attributes:
        noun: what one of these is called.
        input_name: of the signatures that take them.
        answer: encoded ones (B,) -> outputs; None of a model that takes texts alone.
        problem: why an encoded one cannot be answered; "" when it can.
        problem_beside: the same of one beside a text.
        prepared: its bytes as the model takes them.
        picture: the same -> an encoded picture, for people to look at.
        sound: how sounds are heard; None for what is none.
    """

    noun: str
    input_name: str
    answer: Any
    problem: Callable[[bytes], str]
    problem_beside: Callable[[bytes], str]
    prepared: Callable[[bytes], bytes] = bytes
    picture: Callable[[bytes], bytes] = bytes
    sound: SoundFormat | None = None


def asked_medium(loaded: Any) -> AskedMedium:
    """Returns what an export, as it was loaded, sees or hears."""
    input_name = next((name for name in NOUNS if find_signature(loaded.signatures, name)), "image_bytes")
    build = {"image_bytes": _pictures, "audio_bytes": _sounds, "video_bytes": _videos}[input_name]
    return build(loaded, outputs_of(find_signature(loaded.signatures, input_name)))


def sounds_beside(loaded: Any) -> AskedMedium | None:
    """Returns how an export is asked of sounds beside images and texts, None where it takes none."""
    signature = find_signature(loaded.signatures, "image_bytes", "audio_bytes", "text")
    return _sounds(loaded, outputs_of(signature)) if signature else None


def picture_of(content: bytes) -> bytes:
    """Returns an encoded picture of what can be answered: itself, a spectrogram, or frames of a video."""
    from xmodal.data import image_files, sound_files
    from xmodal.data.media import of_sounds, of_videos
    from xmodal.data.sound_format import SoundFormat
    from xmodal.data.video_format import VideoFormat

    head = content[: image_files.HEAD]
    if image_files.kind_by_content(head):
        return content
    if sound_files.kind_by_content(head) in sound_files.READ:
        medium = of_sounds(SoundFormat())
        return medium.picture(medium.encoded(content))
    return of_videos(VideoFormat()).picture(content)


def outputs_of(signature: Any) -> Any:
    """Returns what asks a signature for outputs of contents (B,), images before texts; None for none."""
    if signature is None:
        return None
    # An image comes before the text of a pair, and a sound between them.
    order = ("image_bytes", "video_bytes", "frames", "audio_bytes", "text")
    names = sorted(
        signature.structured_input_signature[1],
        key=lambda name: (order.index(name) if name in order else -1, name),
    )

    def outputs(*contents: Sequence[bytes]) -> dict[str, np.ndarray]:
        import tensorflow as tf

        tensors = {name: tf.constant(part) for name, part in zip(names, contents, strict=True)}
        return {key: value.numpy() for key, value in signature(**tensors).items()}

    return outputs


def _pictures(loaded: Any, answer: Any) -> AskedMedium:
    # None for an export that does not tell.
    max_pixels = int(loaded.max_pixels) if hasattr(loaded, "max_pixels") else None
    problem = partial(_problem_of_picture, max_pixels=max_pixels)
    return AskedMedium("picture", "image_bytes", answer, problem, problem)


def _sounds(loaded: Any, answer: Any) -> AskedMedium:
    from xmodal.data.sound_audit import problem_of_sound
    from xmodal.data.sound_files import as_wav
    from xmodal.data.sounds import picture_of_sound

    # An export of an earlier version tells less. Numbers of float32 have more digits than were meant.
    names = [name for name in ("rate", "seconds", "max_seconds") if hasattr(loaded, name)]
    sound = SoundFormat(**{name: round(getattr(loaded, name).numpy().item(), 6) for name in names})
    problem = _of_one_alone(partial(problem_of_sound, max_seconds=sound.max_seconds))
    return AskedMedium(
        noun="sound",
        input_name="audio_bytes",
        answer=answer,
        problem=problem,
        problem_beside=problem,
        # FLAC and OGG are decoded here.
        prepared=as_wav,
        picture=lambda encoded: picture_of_sound(as_wav(encoded), sound),
        sound=sound,
    )


def _videos(loaded: Any, _: Any) -> AskedMedium:
    from xmodal.data.gif_frames import problem_in_graph
    from xmodal.data.video_format import VideoFormat
    from xmodal.data.videos import frames_of, problem_of_video, strip_of
    from xmodal.data.windows import pad_frames

    video = VideoFormat(int(loaded.frames), float(loaded.max_seconds), int(loaded.max_pixels))
    ask, side = outputs_of(loaded.signatures["frames"]), int(loaded.image_side)

    def answer(contents: Sequence[bytes]) -> Outputs:
        # Whatever it is, it is decoded here, as it was for training.
        return ask(pad_frames([frames_of(content, video) for content in contents], side))

    problem = _of_one_alone(partial(problem_of_video, video=video))

    def problem_beside(encoded: bytes) -> str:
        reason = problem(encoded) or problem_in_graph(encoded, video)
        return reason and f"beside a text: {reason}"

    return AskedMedium(
        noun="video",
        input_name="video_bytes",
        answer=answer,
        problem=problem,
        problem_beside=problem_beside,
        picture=partial(strip_of, video=video),
    )


def _of_one_alone(problem: Callable[[bytes], str]) -> Callable[[bytes], str]:
    """Makes a package that is missing a problem of what needs it: the others are answered."""

    def told(encoded: bytes) -> str:
        try:
            return problem(encoded)
        except UserError as error:
            return f"not read: {error.problem}: {error.remedy}"

    return told


def _problem_of_picture(encoded: bytes, max_pixels: int | None) -> str:
    import tensorflow as tf

    from xmodal.data.decoding import MAX_PIXELS, decode_pixels, why_not_decoded

    try:
        decode_pixels(encoded, max_pixels or MAX_PIXELS)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        return why_not_decoded(encoded, error)
    return ""
