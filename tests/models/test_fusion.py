"""The ways to read an image and a text together, and what they do with a side that is missing."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from xmodal.config.fusion import FusionConfig
from xmodal.core.errors import UserError
from xmodal.evaluation.calibration import softmax
from xmodal.models.fusion import (
    FUSIONS,
    FusionSettings,
    Placeholder,
    UnimodalModels,
    alone_of,
    fusion_model,
    gate_model,
    inputs_of,
    note_of,
)
from xmodal.models.heads import ClassTexts
from xmodal.recipes.fusion.recipe import require_fusions

FUSED = ("fused_early", "fused_gated", "fused_attention")


@pytest.fixture(scope="module")
def inputs():
    """Six pairs: all of them have both sides."""
    random = np.random.default_rng(0)
    shapes = {"image": (6, 5), "regions": (6, 4, 3), "text": (6, 7), "tokens": (6, 3, 7)}
    arrays = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["token_mask"] = np.array([[1, 1, 0], [1, 1, 1]] * 3, np.float32)
    return arrays | {"has_image": np.ones(6, np.float32), "has_text": np.ones(6, np.float32)}


@pytest.fixture(scope="module")
def settings(inputs):
    texts = ClassTexts(np.eye(3, 8, dtype=np.float32), np.arange(3))
    samples = {name: inputs[name] for name in ("image", "regions", "text")}
    samples["tokens"] = inputs["tokens"].reshape(-1, 7)
    return FusionSettings(samples, texts, units=8, dropout=0.5, scale=10.0)


@pytest.fixture(scope="module")
def models(settings):
    keras.utils.set_random_seed(0)
    models = {name: fusion_model(name, settings) for name in ("image_only", "text_only", *FUSED)}
    alone = {"image": models["image_only"], "text": models["text_only"]}
    sides = UnimodalModels(alone, (2.0, 0.5), np.array([0.5, 0.3, 0.2]))
    return models | {"fused_late": fusion_model("fused_late", settings, sides)}


@pytest.fixture(scope="module")
def heard(inputs):
    """The same pairs, and a sound of each."""
    random = np.random.default_rng(1)
    shapes = {"sound": (6, 9), "sound_regions": (6, 4, 2)}
    arrays = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return inputs | arrays | {"has_sound": np.ones(6, np.float32)}


@pytest.fixture(scope="module")
def models_of_three(settings, heard):
    keras.utils.set_random_seed(1)
    sounds = {name: heard[name] for name in ("sound", "sound_regions")}
    settings = replace(settings, samples=settings.samples | sounds)
    names = ("image", "text", "sound")
    models = {name: fusion_model(name, settings) for name in (*alone_of(names), *FUSED)}
    alone = {name: models[f"{name}_only"] for name in names}
    unimodal = UnimodalModels(alone, (2.0, 0.5, 1.5), np.array([0.5, 0.3, 0.2]))
    return models | {"fused_late": fusion_model("fused_late", settings, unimodal)}


SIDES = {"image": ("image", "regions"), "text": ("text", "tokens"), "sound": ("sound", "sound_regions")}


@pytest.mark.parametrize("name", ["fused_late", *FUSED])
def test_of_three_any_two_may_be_missing(models_of_three, heard, name):
    model, none = models_of_three[name], np.zeros(6, np.float32)
    whole = answers(model, heard)
    assert whole.shape == (6, 3)
    for side in SIDES:
        others = [other for other in SIDES if other != side]
        for missing in (others[:1], others):
            absent = {f"has_{other}": none for other in missing}
            changed = {part: -3 * heard[part] for other in missing for part in SIDES[other]}
            # Nor does it count how long a missing text was.
            changed |= {"token_mask": np.ones((6, 3), np.float32)} if "text" in missing else {}
            left = answers(model, heard, **absent)
            np.testing.assert_allclose(left, answers(model, heard, **absent, **changed), atol=1e-4)
            assert np.abs(left - whole).max() > 1e-3


def test_the_late_sum_of_three_is_bayes_rule(models_of_three, heard):
    prior, temperatures = np.array([0.5, 0.3, 0.2]), {"image": 2.0, "text": 0.5, "sound": 1.5}
    shares = [
        softmax(answers(models_of_three[f"{name}_only"], heard), temperature)
        for name, temperature in temperatures.items()
    ]
    expected = np.prod(shares, axis=0) / prior**2
    found = softmax(answers(models_of_three["fused_late"], heard))
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-3)
    gate = gate_model(models_of_three["fused_gated"])
    weights = gate({name: heard[name] for name in gate.input}).numpy()
    assert weights.shape == (6, 3)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def answers(model, inputs, **changed):
    given = inputs | changed
    return model({name: given[name] for name in model.input}, training=False).numpy()


@pytest.mark.parametrize("name", ["image_only", "text_only", "fused_late", *FUSED])
def test_logits_of_every_class(models, inputs, name):
    logits = answers(models[name], inputs)
    assert logits.shape == (6, 3)
    assert np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).min() > 1e-3


@pytest.mark.parametrize("name", ["fused_late", *FUSED])
@pytest.mark.parametrize(("side", "parts"), [("image", ("image", "regions")), ("text", ("text", "tokens"))])
def test_nothing_of_a_missing_side_counts(models, inputs, name, side, parts):
    missing = {f"has_{side}": np.array([0, 1, 1, 0, 1, 1], np.float32)}
    changed = {part: -3 * inputs[part] for part in parts}
    before = answers(models[name], inputs, **missing)
    after = answers(models[name], inputs, **missing, **changed)
    np.testing.assert_allclose(before[[0, 3]], after[[0, 3]], rtol=1e-5, atol=1e-5)
    assert np.abs(before - after)[[1, 2, 4, 5]].max() > 1e-2
    # The others are as they are when nothing is missing.
    np.testing.assert_allclose(before[[1, 2]], answers(models[name], inputs)[[1, 2]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FUSED)
def test_what_stands_for_a_missing_side_is_learned(models, name):
    placeholders = {layer.name for layer in models[name].layers if layer.name.startswith("no_")}
    assert placeholders == {"no_image", "no_text"}
    trained = {id(variable) for variable in models[name].trainable_variables}
    for layer in placeholders:
        assert id(models[name].get_layer(layer).vector) in trained


def test_what_is_behind_a_text_does_not_count(models, inputs):
    tokens = inputs["tokens"].copy()
    tokens[[0, 2, 4], 2] = 100
    before, after = (
        answers(models["fused_attention"], inputs, tokens=part) for part in (inputs["tokens"], tokens)
    )
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-5)


def test_attention_tells_regions_apart(models, inputs):
    positions = models["fused_attention"].get_layer("positions").vectors
    positions.assign(np.random.default_rng(1).normal(size=positions.shape))
    moved = answers(models["fused_attention"], inputs, regions=inputs["regions"][:, ::-1])
    assert np.abs(moved - answers(models["fused_attention"], inputs)).max() > 1e-3


def test_the_late_sum_is_bayes_rule(models, inputs):
    prior = np.array([0.5, 0.3, 0.2])
    image, text = (
        softmax(answers(models[name], inputs), temperature)
        for name, temperature in (("image_only", 2.0), ("text_only", 0.5))
    )
    both = image * text / prior
    np.testing.assert_allclose(
        softmax(answers(models["fused_late"], inputs)), both / both.sum(axis=1, keepdims=True), rtol=1e-4
    )
    none = np.zeros(6, np.float32)
    for missing, expected in (("has_text", image), ("has_image", text)):
        alone = softmax(answers(models["fused_late"], inputs, **{missing: none}))
        np.testing.assert_allclose(alone, expected, rtol=1e-4)
    neither = softmax(answers(models["fused_late"], inputs, has_image=none, has_text=none))
    np.testing.assert_allclose(neither, np.tile(prior, (6, 1)), rtol=1e-4)


def test_the_gate_weighs_what_is_there(models, inputs):
    gate = gate_model(models["fused_gated"])

    def weights(**changed):
        given = inputs | changed
        return gate({name: given[name] for name in inputs_of("fused_gated")}).numpy()

    np.testing.assert_allclose(weights().sum(axis=1), 1, rtol=1e-5)
    assert weights().std(axis=0).min() > 1e-3
    none = np.zeros(6, np.float32)
    np.testing.assert_array_equal(weights(has_text=none), np.tile([1, 0], (6, 1)))
    np.testing.assert_array_equal(weights(has_image=none), np.tile([0, 1], (6, 1)))


def test_the_flag_names_all_ways():
    assert tuple(FUSIONS) == FusionConfig().fusion


def product(image, text, has_image, has_text, settings):
    """What both sides say, multiplied.

    In no paper.
    """
    sides = [keras.layers.Dense(settings.units, name=name)(x) for name, x in (("a", image), ("b", text))]
    there = zip(("no_image", "no_text"), sides, (has_image, has_text), strict=True)
    return keras.layers.Multiply()([Placeholder(name=name)(side, has) for name, side, has in there])


def test_a_new_way_is_a_function_in_the_table(monkeypatch, inputs, settings):
    monkeypatch.setitem(FUSIONS, "product", product)
    assert note_of("fused_product") == "what both sides say, multiplied"
    assert inputs_of("fused_product") == ("image", "text", "has_image", "has_text")
    model = fusion_model("fused_product", settings)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.arange(6) % 3
    read = {name: inputs[name] for name in inputs_of("fused_product")}
    history = model.fit(read, labels, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert answers(model, inputs).shape == (6, 3)


def test_a_way_that_is_none_is_told_before_anything_is_read():
    require_fusions(FUSIONS)
    with pytest.raises(UserError, match="`fusion=erly` is not known; did you mean 'early'"):
        require_fusions(("late", "erly"))
