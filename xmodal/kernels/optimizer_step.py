"""Steps of Keras' optimizers: one operation a variable, one rate a step, and rates of single variables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import keras
import tensorflow as tf


class FusedAdamW(keras.optimizers.AdamW):
    """Keras' `AdamW`, of which each variable's update is one operation, and not two dozen.

    Weights and moments are read and written once a step, and the graph of a step has a third of the
    operations. The formula is the same, of Kingma and Ba 2015 (arXiv:1412.6980), section 2, its last
    paragraph; there is no `amsgrad`. Rows of embeddings (`tf.IndexedSlices`) are left to Keras.

    Example:
        >>> model.compile(FusedAdamW(1e-3), "sparse_categorical_crossentropy")
    """

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Made once a step, and not anew for every variable.
        beta1, beta2, epsilon = map(tf.constant, (self.beta_1, self.beta_2, self.epsilon))
        step = tf.cast(self.iterations.value + 1, tf.float32)
        powers = {"beta1_power": tf.pow(beta1, step), "beta2_power": tf.pow(beta2, step)}
        self._numbers = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, **powers}
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        if isinstance(gradient, tf.IndexedSlices):
            # Keras takes a row that occurs twice for two gradients.
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            lr=learning_rate,
            grad=gradient,
            **self._numbers,
        )


class FusedSGD(keras.optimizers.SGD):
    """Keras' `SGD` with momentum, of which each variable's update is one operation; see `FusedAdamW`."""

    def update_step(self, gradient, variable, learning_rate):
        # Rows of embeddings are added up, as by Keras.
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=learning_rate,
            grad=tf.convert_to_tensor(gradient),
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


def is_fused(optimizer: keras.optimizers.Optimizer) -> bool:
    """Tells whether an optimizer updates a variable by one operation."""
    return isinstance(getattr(optimizer, "inner_optimizer", optimizer), FusedAdamW | FusedSGD)


@contextmanager
def one_rate(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Has an optimizer compute the rate of a step once within a block, and not anew for every variable.

    It is no block for several replicas, whose threads would be in it together.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = inner._learning_rate
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        yield
        return
    rate = inner.learning_rate
    inner.learning_rate = lambda: rate
    try:
        yield
    finally:
        inner.learning_rate = schedule


def with_layer_rates(
    make: Callable[[int], keras.optimizers.Optimizer], scales: Sequence[float]
) -> Callable[[int], keras.optimizers.Optimizer]:
    """Returns a maker of optimizers that take each variable's own share of the rate.

    Scaling the gradients instead would change nothing, since Adam divides by their size. The decoupled
    weight decay goes by the whole rate.

    Args:
        make: the number of all steps -> an optimizer.
        scales: one for each variable, in the order in which the optimizer is built on them.
    """

    def make_with_rates(steps: int) -> keras.optimizers.Optimizer:
        optimizer = make(steps)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        update = inner.update_step

        def update_step(gradient, variable, learning_rate):
            update(gradient, variable, learning_rate * scales[inner._get_variable_index(variable)])

        inner.update_step = update_step
        return optimizer

    return make_with_rates
