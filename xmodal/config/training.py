"""What is common to every training."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.config.fields import MOST_IN_BATCH, Group, option
from xmodal.core.errors import UserError

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "linear", "constant")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class TrainConfig(Group):
    """What is common to every training."""

    optimizer: str = option(
        "adamw", "Optimizer of every training; sgd has Nesterov momentum 0.9.", choices=OPTIMIZERS
    )
    schedule: str = option("cosine", "How the rate falls after the warm-up.", choices=SCHEDULES)
    warmup: float = option(0.1, "Share of the steps in which the rate rises to its peak.", least=0, most=0.9)
    weight_decay: float = option(0.01, "Decoupled weight decay.", least=0)
    clip_norm: float = option(0.0, "Largest norm of the whole gradient; 0 does not clip.", least=0)
    accumulate: int = option(
        1, "Pass each global batch through in so many parts, to save memory.", least=1, most=MOST_IN_BATCH
    )
    ema: float = option(
        0.0, "Momentum of the average of weights that is kept; 0 keeps none.", least=0, most=1.0
    )
    precision: str = option("float32", "What layers compute in; variables stay float32.", choices=PRECISIONS)
    jit: str = option(
        "auto",
        "XLA: auto compiles the steps with GPUs, and the update of many weights in many steps of one device.",
        choices=("auto", "on", "off"),
    )
    baseline: bool = option(
        True, "Train the same from random weights too, to compare with what the transfer gives."
    )
    scratch_learning_rates: tuple[float, ...] = option(
        ("1e-4", "3e-4", "1e-3"),
        "Peak rates of the baseline that is trained from scratch: each is tried for one pass, and the one "
        "that is best on validation is taken.",
        above=0,
        most=1,
        parse=float,
        filled=True,
        rising=True,
    )
    steps_per_call: int = option(
        1, "Steps between two looks at signals and callbacks; with more than 1, waiting is not told.", least=1
    )
    data_service: str = option("", "HOST:PORT of a tf.data service that reads what is trained on.")
    profile_steps: tuple[int, ...] = option(
        (),
        "FIRST,LAST: steps of each training, from 1 on, that are traced for TensorBoard's profiler.",
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
