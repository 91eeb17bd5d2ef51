import keras
import numpy as np
import pytest
from tiny_bert import save_tiny_bert

from xmodal.kernels.optimizer_step import with_layer_rates
from xmodal.models.heads import text_classifier
from xmodal.models.text_encoder import text_encoder
from xmodal.models.trainable import set_trainable
from xmodal.training.optimizers import layer_scales


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> str:
    return save_tiny_bert(tmp_path_factory.mktemp("preset") / "bert")


def test_rates_fall_from_the_head_to_the_embeddings(preset):
    encoder = text_encoder(preset, 12)
    model = text_classifier(encoder.model, 3)
    scales = dict(
        zip((variable.path for variable in model.trainable_variables), layer_scales(model, 0.5), strict=True)
    )
    for path, scale in scales.items():
        if path.startswith("logits"):
            assert scale == 1
        elif path.startswith("transformer_layer_0"):
            assert scale == 0.5
        else:
            assert scale == 0.25, path
    assert set(scales.values()) == {1, 0.5, 0.25}
    assert layer_scales(model, 1.0) == [1.0] * len(scales)


def test_frozen_layers_have_no_rate(preset):
    encoder = text_encoder(preset, 12)
    model = text_classifier(encoder.model, 3)
    set_trainable(encoder.model, "head")
    assert layer_scales(model, 0.5) == [1, 1]


@pytest.mark.parametrize(
    "make",
    [
        lambda steps: keras.optimizers.AdamW(0.1, weight_decay=0.0),
        lambda steps: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda steps: keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(0.1, weight_decay=0.0)),
    ],
    ids=["adamw", "sgd", "loss scale"],
)
def test_a_variable_takes_its_own_share_of_the_step(make, one_device):
    with one_device.scope():
        variables = [keras.Variable(np.ones(3, np.float32)) for _ in range(3)]
        optimizer = with_layer_rates(make, [1.0, 0.1, 0.0])(10)
        optimizer.build(variables)
    optimizer.apply([np.full(3, 2.0, np.float32)] * 3)
    moved = [float(1 - variable.numpy()[0]) for variable in variables]
    assert moved[0] > 0
    assert moved[1] == pytest.approx(0.1 * moved[0], rel=1e-4)
    assert moved[2] == 0
