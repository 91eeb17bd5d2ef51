"""What the text encoder of a run makes of its texts, told before anything is trained."""

from collections.abc import Iterable, Mapping

from xmodal.models.legibility import CUT, UNKNOWN, reading_facts
from xmodal.models.text_encoder import TextEncoder, text_encoder
from xmodal.models.trainable import set_trainable
from xmodal.runs.session import Session
from xmodal.text.vocabulary import UNKNOWN as UNKNOWN_WORD
from xmodal.text.vocabulary import Numbered

Facts = dict[str, float | int | str]
# A share that is said, with what helps.
MUCH = 0.2
WORDS_CUT = "share of test documents that are cut at the sequence length"
WORDS_UNKNOWN = "share of words of test documents that are not in the vocabulary"
REMEDIES = {
    CUT: "raise --sequence_length, if more of them matters",
    UNKNOWN: "choose a --text_encoder of that language, such as multilingual_e5_small",
    WORDS_CUT: "raise --sequence_length, if more of them matters",
    WORDS_UNKNOWN: "raise --vocabulary, or give more training documents",
}


def check_encoder(session: Session, preset: str) -> TextEncoder:
    """Loads the text encoder of a run that trains it, so that a mistake is reported in seconds.

    Args:
        session: the run.
        preset: the encoder, as `text_encoder.text_encoder` takes it.

    Raises:
        UserError: when it cannot be read, is shorter than --sequence_length, or has no such layer as
            --text_trainable names.
    """
    text = session.config.text
    with session.trainer.scope():
        encoder = text_encoder(preset, text.sequence_length)
    set_trainable(encoder.model, text.text_trainable, "text_trainable")
    return encoder


def report_reading(session: Session, encoder: TextEncoder, texts: Iterable[str]) -> Facts:
    """Returns what is cut of texts (N,), and what of them is not known, and says it where it is much.

    Args:
        session: the run.
        encoder: what reads them, with the limit of --sequence_length.
        texts: N of them.
    """
    return _report(session, reading_facts(encoder, texts, session.config.text.sequence_length))


def report_word_ids(session: Session, numbered: Numbered) -> Facts:
    """Returns the same of test documents that are read word by word, by a vocabulary of their own."""
    unknown = (numbered.ids == UNKNOWN_WORD).sum() / numbered.lengths.sum()
    return _report(session, {WORDS_CUT: numbered.cut / len(numbered), WORDS_UNKNOWN: float(unknown)})


def _report(session: Session, shares: Mapping[str, float]) -> Facts:
    """Returns shares as facts, and says those that are large, with what helps."""
    for fact, share in shares.items():
        if share > MUCH:
            session.clock.log(f"warning: {fact}: {share:.0%}; {REMEDIES[fact]}")
    return dict(shares)
