"""Steps of Keras' optimizers: the rate computed once a step, and rates of single variables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import keras


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
