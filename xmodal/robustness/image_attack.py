"""Adversarial images: FGSM and PGD at stated epsilons, by the Adversarial Robustness Toolbox.

Goodfellow et al. 2015 (arXiv:1412.6572) and Madry et al. 2018 (arXiv:1706.06083), both with every value
of an image within epsilon of what it was (the L-infinity norm).
"""

import warnings
from collections.abc import Mapping

import keras
import numpy as np

from xmodal import report
from xmodal.config.attack import AttackConfig
from xmodal.core.errors import UserError
from xmodal.data.images import ImageData, ImageSplit
from xmodal.evaluation.intervals import Comparison
from xmodal.robustness.attacked import (
    AttackResult,
    attack_all,
    attack_comparisons,
    attack_table,
    attacked_examples,
)
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import pixels

# Of epsilon, over all steps of PGD: enough to get from any start to any corner.
REACH = 2.5


def require_library(config: AttackConfig) -> None:
    """Checks that the attacks' library is there, where it is to be used, before anything is trained.

    Raises:
        UserError: when it is not installed.
    """
    if config.attacked_examples:
        library()


def library() -> tuple[type, type, type]:
    """Returns the library's FGSM, its PGD, and its classifier, which is imported at the first call.

    Raises:
        UserError: when it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # It says that it does not find PyTorch, which nothing here needs.
            warnings.filterwarnings("ignore", "PyTorch not found", UserWarning)
            from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
            from art.estimators.classification import TensorFlowV2Classifier
    except ImportError as error:
        raise UserError(
            f"`attacked_examples` needs the package adversarial-robustness-toolbox for images ({error})",
            "pip install -c constraints.txt -e '.[attacks]', or leave it at 0",
        ) from error
    return FastGradientMethod, ProjectedGradientDescent, TensorFlowV2Classifier


def attack_classifiers(
    session: Session, models: Mapping[str, keras.Model], data: ImageData
) -> tuple[tuple[Comparison, ...], tuple[report.Table, ...]]:
    """Attacks classifiers on some of the test images, where the flags ask for it.

    Args:
        session: the run.
        models: name -> RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C); first the plain one.
        data: its test split is drawn from.

    Returns:
        What the attacks cost, and a table of the models side by side; nothing without --attacked_examples.
    """
    config = session.config
    indices = attacked_examples(len(data.test), config.attack.attacked_examples, config.run.seed)
    if not len(indices):
        return (), ()
    attacked = attack_all(
        session,
        models,
        lambda name: attack_images(
            models[name],
            data.test.take(indices),
            len(data.class_names),
            image_size=config.data.image_size,
            batch_size=config.train.batch_size,
            config=config.attack,
            seed=config.run.seed,
        ),
    )
    return attack_comparisons(attacked, "images"), (attack_table(attacked, "images"),)


def attack_images(
    model: keras.Model,
    split: ImageSplit,
    classes: int,
    *,
    image_size: int,
    batch_size: int,
    config: AttackConfig,
    seed: int,
) -> AttackResult:
    """Attacks an image classifier with its own gradients.

    Args:
        model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C).
        split: N images.
        classes: C.
        image_size: side of the images, in pixels.
        batch_size: B.
        config: epsilons and steps.
        seed: of where PGD starts within its epsilons.
    """
    fast_gradient, projected_gradient, tensorflow_classifier = library()
    images = np.concatenate([batch.numpy() for batch in pixels(split, image_size, batch_size)])
    classifier = tensorflow_classifier(
        model=model,
        nb_classes=classes,
        input_shape=images.shape[1:],
        loss_object=keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 255.0),
    )

    def right(inputs: np.ndarray) -> np.ndarray:
        return classifier.predict(inputs, batch_size=batch_size).argmax(axis=1) == split.labels

    def within(method: str, epsilon: float) -> np.ndarray:
        if method == "FGSM":
            attack = fast_gradient(classifier, eps=epsilon, batch_size=batch_size)
        else:
            # The library starts by NumPy's own state.
            keras.utils.set_random_seed(seed)
            attack = projected_gradient(
                classifier,
                eps=epsilon,
                eps_step=REACH * epsilon / config.attack_steps,
                max_iter=config.attack_steps,
                num_random_init=1,
                batch_size=batch_size,
                verbose=False,
            )
        return right(attack.generate(images, np.eye(classes, dtype=np.float32)[split.labels]))

    def rights(method: str) -> dict[str, np.ndarray]:
        return {f"within {epsilon:.3g}/255": within(method, epsilon) for epsilon in config.pixel_budgets}

    steps = f"PGD of {config.attack_steps} steps"
    return AttackResult(right(images), {"FGSM": rights("FGSM"), steps: rights("PGD")})
