"""A model of one picture answers for all windows of a sound, and for those alone that it has."""

import keras
import numpy as np

from xmodal.models.window_layers import over_windows


def test_missing_windows_do_not_count():
    keras.utils.set_random_seed(0)
    pictures = keras.Input((4, 4, 3))
    model = keras.Model(pictures, keras.layers.Dense(2)(keras.layers.Flatten()(pictures)))
    windows = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 4, 3)).astype(np.float32)
    windows[0, 1:] = -1.0
    windows[1, 1] = -1.0
    alone = [model(windows[row, kept]).numpy().mean(axis=0) for row, kept in ((0, [0]), (1, [0, 2]))]
    np.testing.assert_allclose(over_windows(model)(windows), alone, rtol=1e-4)
