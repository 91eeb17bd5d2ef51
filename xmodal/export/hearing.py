"""What is heard in sounds, as sentences that other models take."""

from collections.abc import Sequence
from pathlib import Path

from xmodal.core.console import log
from xmodal.core.errors import UserError
from xmodal.core.formatting import printable
from xmodal.data.table_format import TableFormat
from xmodal.export.asked_files import item_of_file
from xmodal.export.predictor import Predictor


def heard(files: Sequence[Path], listener: Path | None) -> list[str]:
    """Returns the sentence that an export of sounds reads of each, in its first wording, and says it.

    Args:
        files: WAV, FLAC or OGG; none, and nothing is heard.
        listener: folder of the export of a run of `vgg_to_bert` on sounds.

    Raises:
        UserError: for an export that hears nothing, and a file that is no sound.

    Example:
        >>> heard([], None)
        []
    """
    if not files or listener is None:
        return []
    predictor = Predictor(listener)
    if predictor.medium.noun != "sound":
        raise UserError(
            f"`listener={listener}` answers no sounds", "give an export of experiments/sound_to_text.cfg"
        )
    items = [item_of_file(path, TableFormat("utf-8", None, "text", "", "")) for path in files]
    answers = list(predictor(items))
    for item, answer in zip(items, answers, strict=True):
        if answer.problem:
            raise UserError(f"{item.name!r} cannot be heard: {answer.problem}", "give a sound")
    sentences = [answer.read.partition(" | ")[0] for answer in answers]
    for item, sentence in zip(items, sentences, strict=True):
        log(f"{item.name}: {printable(sentence)}")
    return sentences
