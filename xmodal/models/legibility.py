"""What an encoder makes of texts before anything is trained: what it reads as the same, or cuts."""

from collections.abc import Iterable, Sequence

import numpy as np

from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few, truncate
from xmodal.models.text_encoder import TextEncoder

# What `reading_facts` tells.
CUT = "share of texts that fill the sequence length"
UNKNOWN = "share of tokens that the encoder does not know"


def require_told_apart(
    encoder: TextEncoder, texts: Iterable[str], answers: np.ndarray, names: Sequence[str], preset: str
) -> None:
    """Refuses texts that mean different things and reach the encoder as the same tokens.

    Args:
        encoder: what reads them, with its limit of tokens.
        texts: sentences with names or descriptions of classes (M,).
        answers: what each means, as an index into `names` (M,).
        names: the classes or answers.
        preset: how messages name the encoder.

    Raises:
        UserError: that names two of them, why they are the same, and what tells them apart.
    """
    strings = [str(text) for text in texts]
    rows = encoder.padded(strings)["token_ids"]
    index_by_tokens: dict[bytes, int] = {}
    collisions = []
    for index, row in enumerate(rows):
        first = index_by_tokens.setdefault(row.tobytes(), index)
        if answers[first] != answers[index]:
            collisions.append((first, index))
    if not collisions:
        return
    pairs = dict.fromkeys(f"{names[answers[a]]!r} = {names[answers[b]]!r}" for a, b in collisions)
    one, other = (strings[index] for index in collisions[0])
    raise UserError(
        f"the text encoder {preset!r} reads {truncate(one, 60)!r} and {truncate(other, 60)!r} as the same "
        f"tokens ({first_few(list(pairs))})",
        _remedy(encoder, one, other),
    )


def reading_facts(encoder: TextEncoder, texts: Iterable[str], sequence_length: int) -> dict[str, float]:
    """Returns which share of texts (N,) reaches the limit, and of their tokens which the encoder knows not.

    Args:
        encoder: what reads them.
        texts: N of them.
        sequence_length: the encoder's limit, in tokens.
    """
    tokens = encoder.padded(list(texts))
    real = tokens["padding_mask"].astype(bool)
    lengths = real.sum(axis=1)
    facts = {CUT: float(np.mean(lengths >= sequence_length))}
    if encoder.unknown is not None:
        # Without those that mark the ends.
        inner = max(1, int(lengths.sum()) - 2 * len(lengths))
        unknown_count = np.sum(real & (tokens["token_ids"] == encoder.unknown))
        facts[UNKNOWN] = float(unknown_count / inner)
    return facts


def _remedy(encoder: TextEncoder, one: str, other: str) -> str:
    if len(one) > 60 and one[:40] == other[:40]:
        return "raise `sequence_length`, or put what differs first; `class_names` gives other names"
    if encoder.unknown is None:
        return "raise `sequence_length`, or give other names with `class_names`"
    return (
        "choose an encoder of that language, such as `text_encoder=multilingual_e5_small`; raise "
        "`sequence_length`, if it cuts them; or give other names with `class_names`"
    )
