"""Learning rates that fall from the head of an encoder to its first layer."""

from collections.abc import Callable, Sequence

import keras


def layer_scales(model: keras.Model, decay: float, prefix: str = "transformer_layer_") -> list[float]:
    """Returns what the rate of each trainable variable is multiplied by, in the model's order.

    The head's is 1, the last transformer layer's `decay`, the one below it decay^2, and so on; what lies
    under the first layer, the embeddings, comes last (Howard and Ruder 2018, arXiv:1801.06146; Sun et al.
    2019, arXiv:1905.05583).

    Args:
        model: a classifier on an encoder, whose transformer layers are numbered from 0.
        decay: from 0 to 1; 1 gives all of them one rate.
        prefix: of the names of the transformer layers.
    """
    names = [layer.name for layer in model.layers]
    numbered = [name for name in names if name.startswith(prefix)]
    first = names.index(numbered[0]) if numbered else 0
    scales: dict[int, float] = {}
    for place, layer in enumerate(model.layers):
        if layer.name in numbered:
            below_head = len(numbered) - int(layer.name.removeprefix(prefix))
        else:
            below_head = len(numbered) + 1 if place < first else 0
        scales |= {id(variable): decay**below_head for variable in layer.trainable_variables}
    return [scales[id(variable)] for variable in model.trainable_variables]


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

    def made(steps: int) -> keras.optimizers.Optimizer:
        optimizer = make(steps)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        update = inner.update_step

        def update_step(gradient, variable, learning_rate):
            update(gradient, variable, learning_rate * scales[inner._get_variable_index(variable)])

        inner.update_step = update_step
        return optimizer

    return made
