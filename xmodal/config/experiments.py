"""The experiments: which options each of them reads, and what it is made from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Experiment:
    """What is known of a recipe without running it.

    Attributes:
        reads: the options that change something in it.
        made_from: those that name the weights and data that it is made from.
        compressed: whether its export has compressed forms.
        searched: those that a search may choose, see `SearchConfig`.
    """

    reads: frozenset[str]
    made_from: tuple[str, ...]
    compressed: bool = False
    searched: tuple[str, ...] = ()

    @property
    def attacked(self) -> bool:
        """Whether it can measure how hard its models are to fool."""
        return "attacked_examples" in self.reads


def _experiment(*reads: str, made_from: str, compressed: bool = False, searched: str = "") -> Experiment:
    extra_names = ("small portable" if compressed else "", "minutes fixed" if searched else "")
    names = " ".join([RUN, TRAINING, SPLITS, *reads, *extra_names]).split()
    return Experiment(frozenset(names), tuple(made_from.split()), compressed, tuple(searched.split()))


# Options that are read together.
DATASET = "dataset also_train"
RUN = (
    "experiment output_dir overwrite restart dry_run record export offline seed strategy virtual_devices "
    "deterministic checkpoint_seconds checkpoint_steps track"
)
TRAINING = (
    "optimizer schedule warmup weight_decay clip_norm accumulate ema precision jit steps_per_call "
    "data_service profile_steps until"
)
SPLITS = (
    "class_names validation_fraction test_fraction keep_leaks merge_names min_per_class limit train_examples "
    "group_column group_pattern"
)
READ_IMAGES = "bad_images max_pixels batch_size"
NETWORK = (
    "image_size base image_weights features pooling augment label_smoothing epochs learning_rate patience"
)
IMAGES = f"{READ_IMAGES} {NETWORK}"
SOUND = "sound_rate sound_seconds max_seconds"
NEW_HEAD = "trainable head_epochs hidden dropout head_learning_rate validations_per_epoch"
HEAD = f"{NEW_HEAD} feature_cache_gb"
TARGET = "target growth grow drop"
TEXT = "text_encoder sequence_length"
TEXT_TRAINING = "patience text_epochs text_batch_size text_learning_rate length_window"
FINE_TUNING = f"{TEXT_TRAINING} text_trainable text_head_epochs layer_decay class_weights"
BRIDGE = "text_style template top_k"
COLUMNS = "text_column label_column split_column separator quoting encoding fallback_encoding"
BASELINE = "baseline scratch_learning_rates"
IMAGE_ATTACK = "attacked_examples robust pixel_budgets attack_steps"
TEXT_ATTACK = "attacked_examples robust slips changed_words"
FLOW = (
    "generator_widths generator_patch generator_epochs generator_batch_size generator_learning_rate "
    "generator_augment generator_ema unconditional solver"
)
# What a search may choose: of images, in whatever network, and of documents.
SEARCHED_IMAGES = "image_size features trainable learning_rate augment epochs"
SEARCHED_TEXTS = "sequence_length text_trainable text_learning_rate layer_decay text_epochs"

EXPERIMENTS = {
    "vgg_to_bert": _experiment(
        *(DATASET, SOUND, IMAGES, HEAD, TARGET, TEXT, FINE_TUNING, BRIDGE, BASELINE, IMAGE_ATTACK),
        "saved_models_dir max_error explained mirror text_head target_map also_ask text_examples "
        "similarity_scale per_class multi_label speaker speaker_names name_text frames",
        made_from="image_weights dataset also_train text_encoder speaker",
        compressed=True,
        searched=f"base target image_weights grow drop {SEARCHED_IMAGES} head_learning_rate",
    ),
    "vgg_to_vgg": _experiment(
        *(DATASET, IMAGES, HEAD, TARGET, BASELINE, IMAGE_ATTACK),
        made_from="image_weights dataset also_train",
        searched=SEARCHED_IMAGES,
    ),
    "cnn_to_text": _experiment(
        *(DATASET, IMAGES, "documents", COLUMNS, TEXT, TEXT_TRAINING, BASELINE, SOUND),
        "sounds sound_epochs sound_augment "
        "scrub similarity_scale per_class seeds directions move freeze_moved unseen seen_per_class "
        "class_descriptions vocabulary word_vectors units text_dropout",
        made_from="image_weights dataset also_train documents sounds text_encoder",
    ),
    "bert_news": _experiment(
        *("documents", COLUMNS, TEXT, FINE_TUNING, BASELINE, TEXT_ATTACK),
        "saved_models_dir max_error explained test_documents baseline_words scrub per_class shots draws "
        "class_descriptions multi_label",
        made_from="documents text_encoder",
        compressed=True,
        searched=SEARCHED_TEXTS,
    ),
    "text_to_image": _experiment(
        *(DATASET, IMAGES, HEAD, TEXT, BRIDGE, FLOW),
        "saved_models_dir class_descriptions similarity_scale space_width image_generator guidance "
        "sampling_steps drawn",
        made_from="image_weights dataset also_train text_encoder",
    ),
    "fusion": _experiment(
        *(IMAGES, HEAD, COLUMNS, TEXT, FINE_TUNING, BASELINE, SOUND),
        "sounds sound_epochs sound_augment sound_pooling "
        "saved_models_dir max_error explained scrub pairs image_column image_folder misread typing_slips "
        "similarity_scale fusion region_layer fusion_units fusion_epochs fusion_learning_rate "
        "modality_dropout",
        made_from="image_weights pairs sounds text_encoder",
    ),
    "names_to_answers": _experiment(
        *(DATASET, IMAGES, HEAD, TARGET, TEXT),
        "saved_models_dir mirror speaker speaker_names name_text answers readers concepts concept_weights "
        "adapt shots draws",
        made_from="speaker dataset also_train image_weights text_encoder",
    ),
}
