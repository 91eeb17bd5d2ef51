"""The frozen layers of a text model apart from those that learn."""

import numpy as np
import pytest
from tiny_encoders import ENCODERS, save_tiny_encoder

from xmodal.models.heads import text_classifier
from xmodal.models.text_encoder import text_encoder
from xmodal.models.trainable import set_trainable
from xmodal.tasks.frozen_layers import split_frozen
from xmodal.training.optimizers import NUMBERED

TEXTS = ["a photo of a cat", "surely a red dog", "oak"]
# They read padding too, or what is no vector of a token.
WHOLE = {"f_net", "deberta_v3"}
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("kind", ENCODERS)
def test_both_parts_in_turn_compute_what_the_model_does(kind, tmp_path):
    encoder = text_encoder(save_tiny_encoder(kind, tmp_path / kind), 12)
    model, tokens = text_classifier(encoder.model, 3), encoder.padded(TEXTS)
    assert split_frozen(model) is None
    layers = [layer.name for layer in encoder.model.layers if NUMBERED.fullmatch(layer.name)]
    set_trainable(encoder.model, layers[-1])
    halves = split_frozen(model)
    if kind in WHOLE:
        assert halves is None
        return
    frozen, learned = halves
    assert "padding_mask" in learned.input
    assert frozen.trainable_variables == []
    # Their weights are the model's, in its order.
    assert [id(one) for one in learned.trainable_variables] == [id(one) for one in model.trainable_variables]
    given = frozen(tokens)
    np.testing.assert_allclose(learned(given), model(tokens), rtol=1e-5, atol=1e-6)
    # Short texts are cut in a batch, and stay what they are.
    longest = tokens["padding_mask"][2:].sum(axis=1).max()
    cut, short = ({name: part[2:, :longest] for name, part in parts.items()} for parts in (given, tokens))
    np.testing.assert_allclose(learned(cut), model(short), rtol=1e-4, atol=1e-5)


def test_what_gives_one_vector_for_each_text_is_no_part(tmp_path):
    encoder = text_encoder(save_tiny_encoder("bert", tmp_path / "bert"), 12)
    set_trainable(encoder.model, "head")
    assert split_frozen(text_classifier(encoder.model, 3)) is None
