"""Every layer of xmodal can be saved, loaded and cloned."""

import ast
import importlib
import warnings

import keras
import numpy as np
import pytest
from layer_checks import check_layer, check_model
from pages import ROOT

from xmodal.core.files import cache_folder
from xmodal.models.bilstm import bilstm
from xmodal.models.fusion import FusionSettings, UnimodalModels, fusion_model
from xmodal.models.heads import ClassTexts, image_head, scored_classifier
from xmodal.models.image_backbones import image_backbone, small_cnn
from xmodal.models.unet import unet
from xmodal.tasks.image_classifier import attach_head, both_ways

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


IMAGES = (255 * RNG.uniform(size=(2, 8, 8, 3))).astype(np.float32)
WINDOWS = (255 * RNG.uniform(size=(2, 3, 8, 8, 3))).astype(np.float32)
LOGITS_OF_WINDOWS = numbers(6, 4)
TOKENS = RNG.integers(0, 9, (2, 5)).astype(np.int32)
PRESENT = np.array([[1, 0], [1, 1]], np.float32)
DESCRIPTIONS = {"descriptions": numbers(4, 6), "targets": np.array([0, 1, 1, 2]), "scale": 3.0}

LAYERS = {
    "CutTo": ({}, numbers(2, 7, 3), TOKENS > 3),
    "FoldWindows": ({}, WINDOWS),
    "Gate": ({}, numbers(2, 2), [*PRESENT]),
    "LateSum": (
        {"temperatures": (1.5, 0.7), "prior": np.array([0.2, 0.5, 0.3])},
        [numbers(2, 3), numbers(2, 3)],
        [*PRESENT],
    ),
    "MeanMaxPool": ({}, numbers(2, 5, 3), TOKENS > 3),
    "MeanOverWindows": ({}, LOGITS_OF_WINDOWS, WINDOWS),
    "MeanPool": ({}, numbers(2, 5, 3), TOKENS > 3),
    "Modulation": ({}, numbers(2, 4, 4, 3), numbers(2, 6)),
    "PadTo": ({"length": 7, "value": 3}, TOKENS),
    "Placeholder": ({}, numbers(2, 5, 3), PRESENT[0]),
    "Positions": ({}, numbers(2, 5, 3)),
    "Preprocess": ({"family": "vgg16"}, IMAGES),
    "Q4Embedding": ({"rows": 9, "width": 32}, TOKENS),
    "Scaled": ({"start": 5.0}, numbers(2, 3)),
    "Scorer": (DESCRIPTIONS, numbers(2, 5)),
    "Similarity": (DESCRIPTIONS, numbers(2, 6)),
    "SparseLogits": ({"words": 9, "classes": 3}, TOKENS, numbers(2, 5)),
    "TimeFeatures": ({"width": 8}, PRESENT[0]),
    "Trim": ({}, TOKENS),
    "UnitSize": ({}, IMAGES, PRESENT[0]),
    "Velocity": ({}, IMAGES, IMAGES, PRESENT[0]),
}


# An export as a layer: it stays in the folder where it is.
NOT_SAVED = {"Exported"}


def layer_classes() -> dict[str, type[keras.Layer]]:
    """Returns every class of xmodal that is a layer or a model, by its name."""
    found = {}
    for path in sorted((ROOT / "xmodal").rglob("*.py")):
        source = path.read_text()
        names = [
            node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef) and node.bases
        ]
        # PyTorch's modules, which need not be there, are none of Keras' layers.
        if not names or "\nimport torch\n" in source:
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        kinds = [getattr(module, name, None) for name in names]
        found |= {kind.__name__: kind for kind in kinds if kind and issubclass(kind, keras.Layer)}
    return found


CLASSES = layer_classes()


@pytest.fixture(autouse=True)
def _saving():
    with warnings.catch_warnings():
        # Keras asks TensorFlow's variables for arrays in a way that NumPy 2 is leaving behind.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield


def test_every_layer_has_its_check():
    assert sorted({*CLASSES} - NOT_SAVED) == sorted(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_saved_loaded_and_cloned(name):
    kwargs, *inputs = LAYERS[name]
    check_layer(CLASSES[name], kwargs, *inputs)


def test_the_check_sees_an_argument_that_is_lost():
    class Shifted(keras.layers.Layer):
        def __init__(self, by: float, **kwargs):
            super().__init__(**kwargs)
            self.by = by

        def call(self, x):
            return x + self.by

    with pytest.raises((AssertionError, TypeError, ValueError)):
        check_layer(Shifted, {"by": 2.0}, numbers(2, 3))


# Whole networks.


def network(name: str):
    """A network of xmodal and what it reads."""
    texts = ClassTexts(numbers(3, 6), np.arange(3))
    samples = {"image": numbers(4, 7), "text": numbers(4, 6), "regions": numbers(4, 9, 5)}
    samples["tokens"] = numbers(4, 5, 6)
    settings = FusionSettings(samples, texts, 8, 0.1, 5.0)
    pairs = {"has_image": PRESENT[0], "has_text": PRESENT[1]}
    pairs |= {name: sample[:2] for name, sample in samples.items()} | {"token_mask": numbers(2, 5)}
    images = np.repeat(np.repeat(IMAGES, 4, axis=1), 4, axis=2)
    if name == "vgg16 with a head, and its mirror image":
        trunk = image_backbone("VGG16", 32, ("block1_pool", "block3_pool"), cache=cache_folder())
        head = image_head(trunk.output.shape[-1], 3, hidden=4, dropout=0.1)
        return both_ways(attach_head(trunk, head)), images
    if name == "scored small_cnn":
        return scored_classifier(small_cnn(32), texts.vectors, texts.targets, scale=5.0), images
    if name == "bilstm":
        return bilstm(numbers(9, 4), 5, units=3, dropout=0.1), TOKENS
    if name == "unet":
        noise = {"image": images[:, :8, :8], "time": PRESENT[0], "text": numbers(2, 6)}
        return unet(8, 6, (8, 16), 2), noise
    if name == "fused_late":
        alone = {side: fusion_model(f"{side}_only", settings) for side in ("image", "text")}
        unimodal = UnimodalModels(alone, (1.5, 0.7), np.array([0.2, 0.5, 0.3]))
        model = fusion_model(name, settings, unimodal)
    else:
        model = fusion_model(name, settings)
    return model, {part: pairs[part] for part in model.input}


@pytest.mark.parametrize(
    "name",
    [
        "vgg16 with a head, and its mirror image",
        "scored small_cnn",
        "bilstm",
        "unet",
        *("fused_early", "fused_late", "fused_gated", "fused_attention"),
    ],
)
def test_a_network_is_saved_loaded_and_cloned(name):
    check_model(*network(name))
