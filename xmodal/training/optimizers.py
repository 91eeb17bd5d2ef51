"""Optimizers, their schedules, and rates that decay from the head of an encoder to its first layer."""

import math
import re
from collections.abc import Callable

import keras
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.kernels.optimizer_step import FusedAdamW, FusedSGD

LossScaleOptimizer = keras.optimizers.LossScaleOptimizer
MakeOptimizer = Callable[[int], keras.optimizers.Optimizer]


@keras.saving.register_keras_serializable("xmodal")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises linearly from 0, and then stays, or falls to 0 linearly or as a cosine.

    Keras' schedules branch in the graph, and its weight decay asks for the rate once for every variable:
    a hundred branches take seconds to trace and to compile.

    Args:
        peak: the highest rate.
        warmup_steps: of the linear warmup.
        decay_steps: of the decay, 0 for none.
        cosine: decay as a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5).
    """

    def __init__(self, peak: float, warmup_steps: int, decay_steps: int, cosine: bool = False):
        self.peak, self.warmup_steps, self.decay_steps, self.cosine = peak, warmup_steps, decay_steps, cosine

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        warmup = tf.minimum(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        decay = (
            tf.clip_by_value((self.warmup_steps + self.decay_steps - step) / self.decay_steps, 0.0, 1.0)
            if self.decay_steps
            else 1.0
        )
        if self.cosine:
            decay = (1 - tf.cos(math.pi * decay)) / 2
        return self.peak * warmup * decay

    def get_config(self):
        """Returns the arguments."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
            "cosine": self.cosine,
        }


def optimizer_maker(
    config: TrainConfig,
    peak: float,
    optimizer: keras.optimizers.Optimizer | MakeOptimizer | None = None,
) -> MakeOptimizer:
    """Returns what `fit` takes: the number of all steps -> an optimizer.

    Args:
        config: its optimizer, schedule, warmup, weight_decay, ema and precision.
        peak: the highest learning rate.
        optimizer: is taken in the place of what these describe: a function as it is returned here, or a
            Keras optimizer, of which a copy is made, so that its variables are of the strategy's scope.
    """

    def make(steps: int) -> keras.optimizers.Optimizer:
        new_optimizer = _build(config, peak, steps) if optimizer is None else _copy(optimizer)
        if config.precision == "mixed_float16" and not isinstance(new_optimizer, LossScaleOptimizer):
            return LossScaleOptimizer(new_optimizer)
        return new_optimizer

    return make if optimizer is None or isinstance(optimizer, keras.optimizers.Optimizer) else optimizer


def _copy(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    return type(optimizer).from_config(optimizer.get_config())


def _build(config: TrainConfig, peak: float, steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a configuration; AdamW: Loshchilov and Hutter 2019 (arXiv:1711.05101)."""
    cosine = config.schedule == "cosine"
    # A cosine rises in one step at least, as that of Keras.
    warmup_steps = max(int(cosine), round(config.warmup * steps))
    decay_steps = 0 if config.schedule == "constant" else max(1, steps - warmup_steps)
    rate = WarmupSchedule(peak, warmup_steps, decay_steps, cosine)
    options = {
        "weight_decay": config.weight_decay,
        "use_ema": config.ema > 0,
        "ema_momentum": config.ema,
    }
    if config.optimizer == "adamw":
        return FusedAdamW(rate, **options)
    return FusedSGD(rate, momentum=0.9, nesterov=True, **options)


# The layers of encoders: "transformer_layer_3", "fnet_layer_3", "disentangled_attention_encoder_layer_3".
NUMBERED = re.compile(r".*layer_\d+")


def layer_scales(model: keras.Model, decay: float) -> list[float]:
    """Returns what the rate of each trainable variable is multiplied by, in the model's order.

    The head's is 1, the last transformer layer's `decay`, the one below it decay^2, and so on; what lies
    under the first layer, the embeddings, comes last (Howard and Ruder 2018, arXiv:1801.06146; Sun et al.
    2019, arXiv:1905.05583).

    Args:
        model: a classifier on an encoder, whose layers have numbers at the end of their names.
        decay: from 0 to 1; 1 gives all of them one rate.
    """
    names = [layer.name for layer in model.layers]
    layer_names = [name for name in names if NUMBERED.fullmatch(name)]
    first = names.index(layer_names[0]) if layer_names else 0
    scales: dict[int, float] = {}
    for place, layer in enumerate(model.layers):
        if layer.name in layer_names:
            below_head = len(layer_names) - layer_names.index(layer.name)
        else:
            below_head = len(layer_names) + 1 if place < first else 0
        scales |= {id(variable): decay**below_head for variable in layer.trainable_variables}
    return [scales[id(variable)] for variable in model.trainable_variables]
