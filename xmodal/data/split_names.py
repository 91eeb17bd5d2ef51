"""What folders, files and columns call the splits."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from xmodal.core.errors import UserError, nearest
from xmodal.core.formatting import first_few
from xmodal.data.examples import SPLITS, Example

# What folders, files and columns call them, in any case and with or without accents.
WORDS = {
    "train": "train training trainings trn 训练 訓練 学習 entraînement apprentissage entrenamiento treino "
    "treinamento addestramento обучение 훈련 학습",
    "validation": "val valid validation validate dev devel development eval evaluation 验证 驗證 検証 开发 "
    "開發 開発 validierung validierungs validación validação validazione валидация 검증",
    "test": "test tests testing tst holdout heldout 测试 測試 テスト prueba pruebas teste тест 테스트",
}
# What may follow them, as in "training_set".
ENDINGS = "set data split images texts docs files 集 集合 数据 數據 数据集 數據集 データ daten datensatz"
# Between words; and what stands behind those of one file of several, as Hugging Face's data sets name them.
BETWEEN, SHARD = r"[\s_.-]", r"-\d{5}-of-\d{5}$"
# As in "val2017".
YEAR = r"(19|20)\d\d$"


def _plain(word: str) -> str:
    """Returns a word in small letters of usual width, without accents and what stands between its parts."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return re.sub(BETWEEN, "", "".join(letter for letter in letters if not unicodedata.combining(letter)))


SPLIT_WORDS = {_plain(word): split for split, words in WORDS.items() for word in words.split()}
SPLIT_ENDINGS = ("", *(_plain(ending) for ending in ENDINGS.split()))


def split_of(word: str) -> str:
    """Returns the split that the name of a folder or file, or a word of a table, stands for; "" for none."""
    letters = re.sub(YEAR, "", _plain(without_shard(word)))
    for ending in SPLIT_ENDINGS:
        if letters.endswith(ending) and (split := SPLIT_WORDS.get(letters.removesuffix(ending))):
            return split
    return ""


def without_shard(name: str) -> str:
    """Returns a file's name without what says that it is one of several, as in "train-00000-of-00002"."""
    return re.sub(SHARD, "", name)


def with_splits(examples: Sequence[Example], where: str) -> tuple[list[Example], tuple[str, ...]]:
    """Puts splits in the place of the words that the rows of a table have for them.

    Args:
        examples: with the words as their splits.
        where: how messages name the table.

    Returns:
        The examples, and a warning of those without a word, which become train.

    Raises:
        UserError: for words that stand for no split: all of them at once.
    """
    unknown_words = Counter(
        example.split for example in examples if example.split and not split_of(example.split)
    )
    if unknown_words:
        words = [f"{word!r} ({count})" for word, count in unknown_words.most_common()]
        first = next(example.id for example in examples if example.split in unknown_words)
        raise UserError(
            f"unknown splits in {where}: {first_few(words)}, the first in {first!r}",
            nearest(next(iter(unknown_words)), SPLITS)
            if len(unknown_words) == 1
            else "write train, validation or test",
        )
    blank_ids = [example.id for example in examples if not example.split]
    warning = f"rows of {where} without a split, which are taken for train: {len(blank_ids)}, such as "
    split_examples = [example._replace(split=split_of(example.split) or "train") for example in examples]
    return split_examples, (f"{warning}{blank_ids[0]!r}",) if blank_ids else ()
