"""Adversarial word changes: a search through a classifier's own answers for the words that mislead it.

Words are ranked by what the answer loses without them, and changed one after the other, the most important
first, each to whichever of a few forms misleads most, until the answer is wrong or the budget is spent. With
slips of the keyboard as forms this is the search of DeepWordBug (Gao et al. 2018, arXiv:1801.04354), with
near words that of TextFooler (Jin et al. 2020, arXiv:1907.11932).
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from xmodal.config.attack import AttackConfig
from xmodal.evaluation.calibration import softmax
from xmodal.models.text_encoder import TextEncoder
from xmodal.robustness.attacked import AttackResult
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.text.personal_data import MARKS
from xmodal.text.typos import add_typos, misspellings, pieces_of
from xmodal.training.trainer import Trainer

MAX_FORMS = 4
# Of the words that may be changed so many times as many are tried, for some have no form that misleads.
TRIED_PER_CHANGE = 2
MAX_KNOWN_WORDS = 20_000
MIN_OCCURRENCES = 3
SHOWN_EXAMPLES = 5

Texts = Sequence[str] | np.ndarray
Read = Callable[[Texts], np.ndarray]
Forms = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class WordAttack:
    """What a search found for N documents.

    Attributes:
        texts: (N,) objects, the documents as they were last changed.
        edits: for each document the words that were changed, and what replaced them.
        words: (N,) the words that each had for the classifier to read.
        changed: (N,) how many were changed until the answer was wrong: 0 where it was so from the
            beginning, -1 where it stayed right.
    """

    texts: np.ndarray
    edits: tuple[tuple[tuple[str, str], ...], ...]
    words: np.ndarray
    changed: np.ndarray

    def right(self, share: float) -> np.ndarray:
        """Tells which answers (N,) stay right when at most this share of the words is changed."""
        return (self.changed < 0) | (self.changed > max_changes(self.words, share))


def attack_documents(
    classifier: TextClassifier,
    texts: np.ndarray,
    labels: np.ndarray,
    ids: Sequence[str],
    known: Sequence[str],
    *,
    config: AttackConfig,
    max_words: int,
    trainer: Trainer,
) -> AttackResult:
    """Asks a classifier about documents with typing noise, and searches for changes of words that mislead it.

    Args:
        classifier: what is attacked, through its answers alone.
        texts: (N,) objects, cleaned as it reads them.
        labels: (N,) class indices.
        ids: how reports name each document (N,).
        known: the words that may replace others, see `known_words`.
        config: shares of letters and words.
        max_words: the most tokens T, and so words, that the classifier reads.
        trainer: runs it; its seed is that of the typing errors, which are the same for every classifier.
    """
    seed = trainer.seed
    read = reader(classifier, trainer)

    def right(documents: np.ndarray) -> np.ndarray:
        return read(documents).argmax(axis=1) == labels

    noise = {
        f"in {100 * rate:.3g}% of the letters": right(add_typos(texts, rate, (seed, index, len(texts))))
        for index, rate in enumerate(config.slips)
    }
    ranked_indices = ranked_words(read, texts, labels, max_words)
    words = {piece for text in texts for piece in pieces_of(text)[1::2]}
    neighbours = near_words(classifier.encoder, words, known)
    forms_by_kind: dict[str, Forms] = {
        "misspelt words,": misspelt(seed),
        "near words,": lambda word: neighbours[word.lower()],
    }
    share = max(config.changed_words)
    attacks = {
        kind: mislead(read, texts, labels, ranked_indices, forms, share=share)
        for kind, forms in forms_by_kind.items()
    }
    right_by_kind = {
        kind: {f"at most {100 * limit:.3g}% of them": attack.right(limit) for limit in config.changed_words}
        for kind, attack in attacks.items()
    }
    rows = tuple(row for kind, attack in attacks.items() for row in _example_rows(kind, attack, ids))
    return AttackResult(right(texts), {"typing noise": noise} | right_by_kind, rows)


def max_changes(words: np.ndarray | int, share: float) -> np.ndarray:
    """Returns how many of so many words may be changed: the share, rounded down, and at least one."""
    # 29% of 100 are 29, though the product comes out a hair less.
    return np.maximum(1, np.floor(np.asarray(words) * share + 1e-9)).astype(int)


def reader(classifier: TextClassifier, trainer: Trainer) -> Read:
    """Returns a function of texts (N,) that gives probabilities (N, C)."""
    logits = classifier.reader(trainer)
    return lambda texts: softmax(logits(texts))


def ranked_words(
    read: Read, texts: Texts, labels: np.ndarray, max_words: int, batch: int = 4096
) -> list[np.ndarray]:
    """Ranks the words of each document by what its label's probability loses when a word is left out.

    Args:
        read: texts (M,) -> probabilities (M, C).
        texts: N documents.
        labels: (N,) class indices.
        max_words: words that are read of a document, such as the tokens T that an encoder reads.
        batch: documents without a word that are asked for together.

    Returns:
        For each document the positions of its words, the most important first; marks are left out.
    """
    piece_lists = [pieces_of(text) for text in texts]
    indices = [words_of(pieces)[:max_words] for pieces in piece_lists]
    positions = [(document, index) for document, word_indices in enumerate(indices) for index in word_indices]
    scores: dict[int, list[float]] = {document: [] for document in range(len(piece_lists))}
    for start in range(0, len(positions), batch):
        part = positions[start : start + batch]
        probabilities = read([_replace_word(piece_lists[document], index, "") for document, index in part])
        for (document, _), row in zip(part, probabilities, strict=True):
            scores[document].append(row[labels[document]])
    return [
        np.array(word_indices, int)[np.argsort(scores[document], kind="stable")]
        for document, word_indices in enumerate(indices)
    ]


def words_of(pieces: Sequence[str]) -> list[int]:
    """Returns the places of the words among pieces as `pieces_of` gives them; marks are none."""
    return [index for index in range(1, len(pieces), 2) if pieces[index] not in MARKS]


def mislead(
    read: Read,
    texts: Texts,
    labels: np.ndarray,
    ranked: Sequence[np.ndarray],
    forms: Forms,
    *,
    share: float,
) -> WordAttack:
    """Changes words until the answers are wrong, all documents side by side.

    Args:
        read: texts (M,) -> probabilities (M, C).
        texts: N documents.
        labels: (N,) class indices.
        ranked: the places of each document's words in the order of trying, as `ranked_words` gives them.
        forms: a word -> what may replace it.
        share: of the words that are read, the most that may be changed.
    """
    words = np.array([len(order) for order in ranked])
    limits = max_changes(words, share)
    piece_lists = [pieces_of(text) for text in texts]
    probabilities = read(texts)
    label_probabilities = probabilities[np.arange(len(labels)), labels]
    edits: list[list[tuple[str, str]]] = [[] for _ in piece_lists]
    change_counts = np.where(probabilities.argmax(axis=1) == labels, -1, 0)
    queues = [iter(order[: TRIED_PER_CHANGE * limit]) for order, limit in zip(ranked, limits, strict=True)]
    documents = np.flatnonzero(change_counts < 0).tolist()
    while documents:
        trials = {
            document: _next_forms(piece_lists[document], queues[document], forms) for document in documents
        }
        trials = {document: candidates for document, candidates in trials.items() if candidates}
        if not trials:
            break
        batch = [
            _replace_word(piece_lists[document], index, form)
            for document, candidates in trials.items()
            for index, form in candidates
        ]
        answers = read(batch)
        documents, start = [], 0
        for document, candidates in trials.items():
            part = answers[start : start + len(candidates)]
            start += len(candidates)
            best = int(part[:, labels[document]].argmin())
            if part[best, labels[document]] < label_probabilities[document]:
                index, form = candidates[best]
                edits[document].append((piece_lists[document][index], form))
                piece_lists[document][index] = form
                label_probabilities[document] = part[best, labels[document]]
                if part[best].argmax() != labels[document]:
                    change_counts[document] = len(edits[document])
            if change_counts[document] < 0 and len(edits[document]) < limits[document]:
                documents.append(document)
    new_texts = np.empty(len(piece_lists), object)
    new_texts[:] = ["".join(pieces) for pieces in piece_lists]
    return WordAttack(new_texts, tuple(map(tuple, edits)), words, change_counts)


def misspelt(seed: int) -> Forms:
    """Returns the forms of a word with one slip within it; a word has the same ones always."""
    return lambda word: misspellings(word, random.Random(repr((seed, word))))


def near_words(encoder: TextEncoder, words: Iterable[str], known: Sequence[str]) -> dict[str, list[str]]:
    """Finds the words nearest to some words in an encoder's own table of word pieces.

    A word has the mean of its pieces' vectors, less the mean of all. Near words stand in like places; they
    need not mean the same, and may mean the opposite.

    Args:
        encoder: gives the pieces and their vectors.
        words: what near words are looked for; case does not count.
        known: what near words may be.

    Returns:
        Word, in lower case -> the nearest ones of `known`, nearest first, `MAX_FORMS` at most.
    """
    words = sorted({word.lower() for word in words})
    if not known:
        return {word: [] for word in words}
    vectors = _vectors(encoder, known)
    middle = vectors.mean(axis=0)
    vectors = _unit(vectors - middle)
    neighbours: dict[str, list[str]] = {}
    for start in range(0, len(words), 256):
        part = words[start : start + 256]
        cosines = _unit(_vectors(encoder, part) - middle) @ vectors.T
        # One more than are wanted: the nearest is mostly the word itself.
        for word, row in zip(part, cosines, strict=True):
            order = np.argsort(-row, kind="stable")[: MAX_FORMS + 1]
            neighbours[word] = [known[index] for index in order if known[index] != word][:MAX_FORMS]
    return neighbours


def known_words(texts: Iterable[str]) -> list[str]:
    """Returns the words that occur in documents more than once or twice, the most frequent first."""
    counts = Counter(piece.lower() for text in texts for piece in pieces_of(text)[1::2] if piece not in MARKS)
    frequent_words = [word for word, count in counts.most_common(MAX_KNOWN_WORDS) if count >= MIN_OCCURRENCES]
    return frequent_words or list(counts)


def _vectors(encoder: TextEncoder, words: Sequence[str]) -> np.ndarray:
    tokens = encoder.padded(words)
    # Between the first and the last, which mark the ends.
    inner = np.cumsum(tokens["padding_mask"], axis=1)
    inner = ((inner > 1) & (inner < inner[:, -1:]) & (tokens["padding_mask"] > 0)).astype(np.float32)
    table = encoder.model.get_layer("token_embedding")
    sums = np.concatenate(
        [
            np.einsum("wt,wtd->wd", inner[part], table(tokens["token_ids"][part]).numpy())
            for part in np.array_split(np.arange(len(words)), -(-len(words) // 512))
        ]
    )
    return sums / np.maximum(1, inner.sum(axis=1, keepdims=True))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _replace_word(pieces: list[str], index: int, form: str) -> str:
    return "".join([*pieces[:index], form, *pieces[index + 1 :]])


def _next_forms(pieces: list[str], queue, forms: Forms) -> list[tuple[int, str]]:
    """Returns the forms of the next word that has any, with its place; none when the words are used up."""
    for index in queue:
        candidates = [(int(index), form) for form in forms(pieces[index])]
        if candidates:
            return candidates
    return []


def _example_rows(kind: str, attack: WordAttack, ids: Sequence[str]) -> list[tuple[str, int, str, str]]:
    """Returns rows about the documents that the fewest changes misled."""
    misled_indices = np.flatnonzero(attack.changed > 0)
    order = misled_indices[np.argsort(attack.changed[misled_indices], kind="stable")][:SHOWN_EXAMPLES]
    return [
        (
            ids[index],
            int(attack.words[index]),
            kind.rstrip(","),
            ", ".join(f"{word}: {form}" for word, form in attack.edits[index]),
        )
        for index in order.tolist()
    ]
