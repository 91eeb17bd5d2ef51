"""Options that change nothing while another one is off."""

from collections.abc import Callable
from dataclasses import dataclass

from xmodal.bridge.styles import STYLES
from xmodal.config.config import Config
from xmodal.config.experiments import COLUMNS, FINE_TUNING, FLOW, NETWORK, NEW_HEAD, SOUND, TARGET
from xmodal.config.names import NOISY_STUDENT


@dataclass(frozen=True)
class Condition:
    """What options are for: without it they change nothing.

    Attributes:
        options: their names, with blanks between.
        holds: tells of a configuration whether something reads them.
        given: what they need, as flags.
    """

    options: str
    holds: Callable[[Config], bool]
    given: str


def _has_attack(config: Config) -> bool:
    return config.attack.attacked_examples > 0


def _has_attack_or_robust(config: Config) -> bool:
    return _has_attack(config) or config.attack.robust


def _has_columns(config: Config) -> bool:
    """Tells whether texts come from a source with columns, keys or features, or from files."""
    sources = [config.documents.documents, *config.documents.test_documents]
    if config.run.experiment == "fusion":
        sources = [config.pairs.pairs]
    return any(":" in source for source in sources)


CONDITIONS = (
    Condition("slips pixel_budgets", _has_attack_or_robust, "--attacked_examples or --robust"),
    Condition("changed_words attack_steps", _has_attack, "--attacked_examples"),
    Condition("top_k", lambda config: STYLES[config.text.text_style].places is None, "--text_style=topk"),
    Condition(
        f"text_examples {FINE_TUNING}",
        lambda config: config.text.text_head == "finetune" or config.run.experiment != "vgg_to_bert",
        "--text_head=finetune",
    ),
    Condition("fixed", lambda config: config.search.minutes > 0, "--minutes"),
    Condition("until", lambda config: config.splits.validation_fraction > 0, "--validation_fraction"),
    Condition("scratch_learning_rates", lambda config: config.train.baseline, "--baseline"),
    Condition(
        "per_class",
        lambda config: config.train.baseline or config.run.experiment == "cnn_to_text",
        "--baseline",
    ),
    Condition(COLUMNS, _has_columns, "a table, a folder or TFDS as the source of the texts"),
    Condition("misread typing_slips", lambda config: config.pairs.pairs == "mnist_5k", "--pairs=mnist_5k"),
    Condition(
        "image_column image_folder", lambda config: config.pairs.pairs != "mnist_5k", "a table of --pairs"
    ),
    Condition(
        f"{SOUND} sound_epochs sound_augment sound_pooling",
        lambda config: (
            config.run.experiment != "fusion"
            or config.scorer.sounds != "none"
            or config.pairs.pairs != "mnist_5k"
        ),
        "--sounds, or a table of --pairs",
    ),
    Condition("move freeze_moved", lambda config: bool(config.scorer.directions), "--directions"),
    Condition("seen_per_class", lambda config: config.scorer.unseen > 0, "--unseen"),
    Condition("speaker_names name_text", lambda config: config.names.speaker != "none", "--speaker"),
    Condition(
        f"{NETWORK} {NEW_HEAD} {TARGET} mirror",
        lambda config: config.run.experiment != "names_to_answers" or config.names.adapt == NOISY_STUDENT,
        "--adapt=noisy_student",
    ),
    Condition("concept_weights", lambda config: bool(config.names.concepts), "--concepts"),
    Condition("draws", lambda config: any(config.names.shots), "--shots"),
    Condition(
        "class_descriptions",
        lambda config: any(config.names.shots) or config.run.experiment != "bert_news",
        "--shots",
    ),
    Condition(
        "class_weights test_documents shots per_class max_error small portable attacked_examples "
        "label_smoothing until minutes fixed target_map also_ask speaker text_style text_head text_examples",
        lambda config: not config.documents.multi_label,
        "a single label for each example (no --multi_label)",
    ),
    Condition(FLOW, lambda config: config.generator.image_generator == "flow", "--image_generator=flow"),
)


def idle_options(config: Config) -> dict[str, str]:
    """Returns the options that change nothing in a configuration, with what each of them needs, as flags."""
    conditions = [condition for condition in reversed(CONDITIONS) if not condition.holds(config)]
    # As where flags are refused, the first condition counts.
    return {name: condition.given for condition in conditions for name in condition.options.split()}
