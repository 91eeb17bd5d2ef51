"""What is told of missing sides and of gates, from answers that are known; and which pairs lose a side."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.models.image_backbones import small_cnn, with_regions
from xmodal.recipes.fusion.classifiers import EncodedPairs, drop_modalities
from xmodal.recipes.fusion.encoders import require_all_modalities
from xmodal.recipes.fusion.missing_modalities import (
    SHARES,
    least_without_a_modality,
    missing_comparisons,
    missing_curves,
    missing_table,
    trust_table,
    trusted_pairs,
)
from xmodal.tasks.pair_encoders import EncodedModality, EncodedSplit, Encoders, image_parts, pair_batches


def first(count):
    return np.arange(200) < count


RIGHTS = {
    "image_only": {"both": first(150)},
    "text_only": {"both": first(160)},
    "fused_early": {"both": first(190), "image": first(148), "text": first(161)},
}


def test_a_curve_leads_from_both_sides_to_the_one_that_is_left():
    by_text, by_image = missing_curves(RIGHTS, ["fused_early"], seed=3)
    assert by_text.caption.startswith("Test accuracy by how many pairs lose their text")
    for plot, alone, last in ((by_text, 75.0, 74.0), (by_image, 80.0, 80.5)):
        flat, curve = plot.series
        assert flat.y == (alone,) * len(SHARES)
        assert curve.x == tuple(map(float, SHARES))
        assert (curve.y[0], curve.y[-1]) == (95.0, last)
        # The pairs that lose a side do so at every larger share: here, that never helps.
        assert list(curve.y) == sorted(curve.y, reverse=True)
        assert all(low < y < high for low, y, high in zip(curve.low, curve.y, curve.high, strict=True))
        half = curve.y[SHARES.index(50)]
        assert half == pytest.approx((95 + last) / 2, abs=5)


def test_the_table_sets_each_model_beside_the_other_sides_own():
    (row,) = missing_table(RIGHTS, ["fused_early"]).rows
    assert row[0] == "fused_early"
    assert [cell.partition(" ")[0] for cell in row[1:]] == ["95.00%", "74.00%", "-1.00", "80.50%", "+0.50"]
    assert least_without_a_modality(RIGHTS, ["fused_early"]) == pytest.approx(-1.0)


def test_the_sentences_say_what_was_lost():
    without_text, without_image = missing_comparisons(RIGHTS, "fused_early")
    assert without_text.difference == pytest.approx(-0.01)
    assert without_text.sentence.startswith("fused_early without any text, in the place of image_only, ")
    assert without_image.sentence.startswith("fused_early without any image, in the place of text_only, ")


def test_trust_is_told_by_the_side_that_is_right():
    image, text = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 1, 0], bool)
    table = trust_table(np.array([0.5, 0.9, 0.2, 0.4, 0.7]), {"image": image, "text": text})
    assert table.rows == (
        ("both sides", 1, "0.500", "0.500", "0.500"),
        ("the image alone", 2, "0.750", "0.800", "0.850"),
        ("the text alone", 2, "0.250", "0.300", "0.350"),
    )


def test_of_three_modalities_every_part_is_set_beside_the_best_model_of_it():
    alone = {"image_only": first(150), "text_only": first(160), "sound_only": first(155)}
    rights = {name: {"all": right} for name, right in alone.items()}
    rights["fused_early"] = {
        "all": first(190),
        **{"image and text": first(165), "image and sound": first(150), "text and sound": first(170)},
        **{"image": first(148), "text": first(161), "sound": first(155)},
    }
    one, two = (missing_table(rights, ["fused_early"], count) for count in (1, 2))
    assert one.head[1:4] == ("with all three sides", "without sounds", "points above text_only")
    assert one.head[4:6] == ("without texts", "points above sound_only")
    assert [cell.partition(" ")[0] for cell in one.rows[0][3::2]] == ["+2.50", "-2.50", "+5.00"]
    assert two.head[2] == "without texts and sounds"
    assert [cell.partition(" ")[0] for cell in two.rows[0][3::2]] == ["-1.00", "+0.50", "+0.00"]
    assert len(list(missing_curves(rights, ["fused_early"], seed=3))) == 3
    sentences = [each.sentence for each in missing_comparisons(rights, "fused_early")]
    assert sentences[3].startswith("fused_early without any text or sound, in the place of image_only, ")
    assert least_without_a_modality(rights, ["fused_early"]) == pytest.approx(-2.5)
    right = {"image": first(150), "text": first(160), "sound": first(155)}
    table = trust_table(np.full(200, 0.25), right, "sound")
    assert [row[:2] for row in table.rows] == [
        ("all three sides", 150),
        ("the text and the sound", 5),
        ("the text alone", 5),
        ("none", 40),
    ]


def test_the_clearest_pairs_are_those_where_the_sides_disagree():
    labels = np.array([0, 0, 1, 1, 0])
    answers = {
        "image_only": np.array([0, 0, 0, 0, 0]),
        "text_only": np.array([0, 1, 1, 1, 1]),
        "fused_gated": np.array([0, 0, 1, 0, 0]),
    }
    weights = {"image": np.array([1.0, 0.9, 0.1, 0.8, 0.7])}
    texts, ids = np.array(list("abcde"), object), ("p0", "p1", "p2", "p3", "p4")
    table = trusted_pairs(weights, labels, answers, texts, ids, ("cat", "dog"))
    assert table.rows == (
        ("p1", "b", "cat", "cat", "dog", "cat", "0.900"),
        ("p4", "e", "cat", "cat", "dog", "cat", "0.700"),
        ("p2", "c", "dog", "cat", "dog", "dog", "0.100"),
        ("p3", "d", "dog", "cat", "dog", "cat", "0.800"),
    )


def test_pairs_lose_one_side_and_never_both():
    there = np.arange(4000)
    split = shown(image=there >= 1000, text=there < 3000)
    seen = drop_modalities(split, 0.5, np.random.default_rng(0)).present
    # Those that have one side only keep it.
    np.testing.assert_array_equal(seen["text"][:1000], True)
    np.testing.assert_array_equal(seen["image"][3000:], True)
    assert (seen["image"] | seen["text"]).all()
    both = slice(1000, 3000)
    assert np.mean(~seen["image"][both]) == pytest.approx(0.25, abs=0.03)
    assert np.mean(~seen["text"][both]) == pytest.approx(0.25, abs=0.03)
    # Which side a draw takes, is what it was before there were sounds.
    draws = np.random.default_rng(0).random(4000)
    np.testing.assert_array_equal(~seen["image"][both], draws[both] < 0.25)
    np.testing.assert_array_equal(~seen["text"][both], draws[both] > 0.75)
    whole = drop_modalities(split, 0.0, np.random.default_rng(0))
    assert_same(whole.present, split.present)


def test_of_three_modalities_every_part_is_left_as_often():
    there = np.arange(12_000)
    split = shown(image=there >= 0, text=there >= 0, sound=there < 8000)
    seen = drop_modalities(split, 0.6, np.random.default_rng(0)).present
    parts = np.stack([seen[name] for name in ("image", "text", "sound")])
    assert parts.any(axis=0).all()
    assert not seen["sound"][8000:].any()
    kinds, counts = np.unique(parts[:, :8000], axis=1, return_counts=True)
    assert kinds.shape[1] == 7
    expected = np.where(kinds.all(axis=0), 0.4, 0.1)
    np.testing.assert_allclose(counts / 8000, expected, atol=0.02)
    assert_same(drop_modalities(split, 0.0, np.random.default_rng(0)).present, split.present)


def shown(**present):
    """Encoded pairs that have these modalities (N,)."""
    row = np.zeros(len(present["image"]), int)
    modalities = {name: EncodedModality((tf.zeros((1, 1)),), row, there) for name, there in present.items()}
    return EncodedSplit(modalities, row)


def assert_same(present, expected):
    assert list(present) == list(expected)
    for name, there in present.items():
        np.testing.assert_array_equal(there, expected[name])


def test_soft_labels_are_learned_in_any_order_and_their_mean_is_the_prior():
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 6).astype(np.float32)
    rows, there = tf.reshape(tf.range(6.0), (6, 1, 1)), np.ones(6, bool)
    texts = EncodedModality((rows,), np.arange(6), there, tf.ones((6, 1)))
    split = EncodedSplit({"text": texts}, shares.argmax(axis=1), shares)
    kept, order = np.array([5, 0, 3, 2]), np.array([1, 3, 0])
    [(inputs, targets, weights)] = pair_batches(
        Encoders({}, None, None), split.take(kept), ("text",), batch_size=4, order=order
    )
    np.testing.assert_array_equal(inputs["text"][:, 0], kept[order])
    np.testing.assert_array_equal(targets, shares[kept[order]])
    np.testing.assert_array_equal(weights, np.ones(3))
    setting = SimpleNamespace(encoded={"train": split})
    np.testing.assert_allclose(EncodedPairs.prior.fget(setting), shares.mean(axis=0), rtol=1e-6)


def test_a_split_without_any_image_or_text():
    some, none = np.array([True, False]), np.array([False, False])
    whole = SimpleNamespace(present={"image": some, "text": ~some})
    empty = SimpleNamespace(present={"image": ~none, "text": none})
    require_all_modalities(SimpleNamespace(train=whole, validation=whole, test=whole))
    with pytest.raises(UserError, match=r"^no test pair has a text; there is nothing to fuse: "):
        require_all_modalities(SimpleNamespace(train=whole, validation=whole, test=empty))
    empty = SimpleNamespace(present={"image": some, "text": some, "sound": none})
    with pytest.raises(UserError, match=r"^no train pair has a sound; fill in the column 'audio', or rem"):
        require_all_modalities(SimpleNamespace(train=empty, validation=whole, test=whole))


def test_a_trunk_gives_its_regions_as_they_are():
    backbone = small_cnn(32)
    both, map_shape = with_regions(backbone, "pool1")
    assert map_shape == (14 * 14, 6)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    parts = image_parts(both(images), map_shape)
    np.testing.assert_allclose(parts["image"], backbone(images), rtol=1e-6)
    expected = images
    for layer in backbone.layers[1:4]:
        expected = layer(expected)
    np.testing.assert_allclose(parts["regions"], np.reshape(expected, (2, 196, 6)), rtol=1e-6)
    with pytest.raises(UserError, match="`region_layer=pool3` is no layer of 'small_cnn' with feature maps"):
        with_regions(backbone, "pool3")
