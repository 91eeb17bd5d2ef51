"""Every training."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.config.fields import MAX_IN_BATCH, Group, documented, option
from xmodal.core.errors import UserError

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "linear", "constant")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@documented
@dataclass(frozen=True)
class TrainConfig(Group):
    """Every training.

    Raises:
        UserError: for a value out of an option's limits.

    Example:
        >>> trainer = Trainer(TrainConfig(optimizer="sgd", schedule="constant", clip_norm=1.0))
        >>> trainer.config.warmup
        0.1
        >>> TrainConfig(warmup=1.0)
        Traceback (most recent call last):
        xmodal.core.errors.UserError: `warmup=1.0` does not fit; give a number in the range [0, 0.9]
    """

    optimizer: str = option(
        "adamw", "Optimizer of every training; sgd uses Nesterov momentum 0.9.", choices=OPTIMIZERS
    )
    schedule: str = option("cosine", "Learning rate schedule after the warm-up.", choices=SCHEDULES)
    warmup: float = option(
        0.1, "Fraction of the steps in which the learning rate rises to its peak.", least=0, most=0.9
    )
    weight_decay: float = option(0.01, "Decoupled weight decay.", least=0)
    clip_norm: float = option(0.0, "Maximum global norm of the gradient; 0 disables clipping.", least=0)
    accumulate: int = option(
        1, "Micro-batches per global batch (gradient accumulation).", least=1, most=MAX_IN_BATCH
    )
    ema: float = option(
        0.0, "Decay of the exponential moving average of the weights; 0 disables it.", least=0, most=1.0
    )
    precision: str = option(
        "float32", "Dtype policy: what layers compute in. Variables stay float32.", choices=PRECISIONS
    )
    jit: str = option(
        "auto",
        "XLA: auto compiles the training steps on GPUs and, where there are many weights and steps, the "
        "activations of BERT and the update of an optimizer of your own on a single device; on compiles "
        "these, and what reads texts.",
        choices=("auto", "on", "off"),
    )
    baseline: bool = option(True, "Also train from random weights, to measure what the transfer is worth.")
    scratch_learning_rates: tuple[float, ...] = option(
        ("1e-4", "3e-4", "1e-3"),
        "Peak learning rates of the baseline that is trained from scratch: each is tried for one "
        "pass, and the one that is best on validation is used.",
        above=0,
        most=1,
        parse=float,
        filled=True,
        rising=True,
    )
    batch_size: int = option(
        64, "Global batch size of images, and of pairs of images and texts.", least=1, most=MAX_IN_BATCH
    )
    patience: int = option(5, "Epochs without a better validation loss before training stops early.", least=1)
    until: float = option(
        0.0,
        "Validation accuracy at which a training stops, with the weights that reached it; 0 for none.",
        least=0,
        most=1,
    )
    dropout: float = option(
        0.3, "Dropout rate in the image head, in fusion and in a shared space.", least=0, most=0.9
    )
    label_smoothing: float = option(
        0.1, "Label smoothing of images, and of documents that are compared with names.", least=0, most=0.9
    )
    steps_per_call: int = option(
        1,
        "Training steps per call of the compiled function; signals and callbacks are looked at "
        "between calls, and with more than 1 the time spent waiting for data is not reported.",
        least=1,
    )
    data_service: str = option("", "HOST:PORT of a tf.data service that loads the training data.")
    profile_steps: tuple[int, ...] = option(
        (),
        "FIRST,LAST: steps of each training, counted from 1, to trace for TensorBoard's profiler.",
        form="two numbers, such as 10,15",
        parse=int,
    )
    # No option: the folder of the run says where the traces go.
    profile_folder: Path = Path("profile")

    def __post_init__(self):
        super().__post_init__()
        steps = self.profile_steps
        if steps and not (len(steps) == 2 and 1 <= steps[0] <= steps[1]):
            raise UserError(
                f"`profile_steps={','.join(map(str, steps))}` are no steps", "give two numbers, such as 10,15"
            )
