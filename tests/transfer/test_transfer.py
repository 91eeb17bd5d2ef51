import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.transfer.weights import output_difference, transfer_weights


def convolutions(*names, filters=4, name="model", activation="relu"):
    layers = [
        keras.layers.Conv2D(filters, 3, padding="same", activation=activation, name=layer) for layer in names
    ]
    return keras.Sequential([keras.Input((8, 8, 4)), *layers], name=name)


@pytest.fixture
def probe():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 4)).astype(np.float32)


def test_identity_growth_gives_exactly_the_source_output(probe):
    source, target = convolutions("a", "b"), convolutions("a", "new", "b")
    report = transfer_weights(source, target, grow=["new"], probe=probe)
    assert report.max_abs_difference == 0.0
    assert [(layer.target, layer.action) for layer in report.layers] == [
        ("a", "copied"),
        ("new", "grown"),
        ("b", "copied"),
    ]
    assert report.parameters("copied") == sum(w.size for w in source.get_weights())


def test_random_growth_changes_the_output(probe):
    source, target = convolutions("a"), convolutions("a", "new")
    report = transfer_weights(source, target, growth="random", grow=["n*"], probe=probe)
    assert report.max_abs_difference > 1e-3


def test_vgg19_grown_from_vgg16_is_vgg16():
    rng = np.random.default_rng(0)
    source = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    target = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3))
    report = transfer_weights(
        source,
        target,
        grow=["block?_conv4"],
        probe=rng.uniform(-100, 100, (2, 32, 32, 3)).astype(np.float32),
    )
    assert report.max_abs_difference == 0.0
    assert [layer.target for layer in report.layers if layer.action == "grown"] == [
        "block3_conv4",
        "block4_conv4",
        "block5_conv4",
    ]


def test_the_digest_is_that_of_the_weights():
    source, target = convolutions("a"), convolutions("a")
    first = transfer_weights(source, target).layers[0].sha256
    assert transfer_weights(source, target).layers[0].sha256 == first
    kernel, bias = source.get_weights()
    source.set_weights([kernel, bias + 1])
    assert transfer_weights(source, target).layers[0].sha256 != first


def test_undeclared_layers_of_both_sides_are_listed_and_nothing_is_copied():
    source, target = convolutions("a", "gone"), convolutions("a", "new")
    before = target.get_weights()
    with pytest.raises(UserError, match=r"only in the target: new .*only in the source: gone .*declare"):
        transfer_weights(source, target)
    assert all(np.array_equal(a, b) for a, b in zip(before, target.get_weights(), strict=True))


def test_a_layer_of_another_shape_does_not_match():
    with pytest.raises(UserError, match=r"a \[\(3, 3, 4, 4\).*a \[\(3, 3, 4, 6\)"):
        transfer_weights(convolutions("a", filters=6), convolutions("a"))


def test_source_layers_without_a_place_are_named(probe):
    source, target = convolutions("a", "b"), convolutions("a")
    report = transfer_weights(source, target, drop=["b"], probe=probe)
    assert report.unmatched_source == ("b",)
    assert report.max_abs_difference > 1e-3


def test_left_and_renamed_layers():
    source, target = convolutions("a", "b"), convolutions("a", "c")
    report = transfer_weights(source, target, leave=["a"], drop=["a"], rename={"c": "b"})
    assert [(layer.action, layer.source, layer.rule) for layer in report.layers] == [
        ("left", None, "declared"),
        ("copied", "b", "renamed"),
    ]
    assert np.array_equal(target.get_layer("c").get_weights()[0], source.get_layer("b").get_weights()[0])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.Conv2D(4, 3, padding="same", activation="tanh", name="new"), (8, 8, 4)),
        (keras.layers.Conv2D(4, 2, padding="same", name="new"), (8, 8, 4)),
        (keras.layers.Conv2D(4, 3, strides=2, padding="same", name="new"), (8, 8, 4)),
        (keras.layers.Conv2D(6, 3, padding="same", name="new"), (8, 8, 4)),
        (keras.layers.BatchNormalization(name="new"), (8, 8, 4)),
    ],
)
def test_what_cannot_be_an_identity_is_refused(layer, shape):
    target = keras.Sequential([keras.Input(shape), layer])
    with pytest.raises(UserError, match=r"'new' .* cannot be grown as an identity; use `growth=random`"):
        transfer_weights(keras.Sequential([keras.Input(shape), keras.layers.ReLU()]), target, grow=["new"])


def test_nested_models_match_by_path():
    def nested():
        return keras.Sequential([keras.Input((8, 8, 4)), convolutions("a", name="trunk")])

    source, target = nested(), nested()
    assert [layer.target for layer in transfer_weights(source, target).layers] == ["trunk/a"]


def test_dense_layers_grow_too():
    def dense(*names):
        return keras.Sequential(
            [keras.Input((5,)), *(keras.layers.Dense(5, activation="relu", name=name) for name in names)]
        )

    source, target = dense("a"), dense("a", "new")
    transfer_weights(source, target, grow=["new"])
    assert output_difference(source, target, np.ones((1, 5), np.float32)) == 0.0


def test_the_account_in_one_line(probe):
    source, target = convolutions("a", "old", name="one"), convolutions("a", "new", name="two")
    report = transfer_weights(source, target, grow=["new"], drop=["old"], probe=probe)
    assert report.names("copied") == ["a"]
    assert report.line() == (
        "one -> two: 1 layers copied (148 parameters), 1 grown by identity, no place for old; "
        f"largest difference of the outputs on a batch: {report.max_abs_difference}"
    )


def dense(*layers, size=5, name="model"):
    return keras.Sequential([keras.Input((size,)), *layers], name=name)


def unchanged(model, before):
    return all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("activation", ["linear", "gelu", "tanh", "leaky_relu", "elu", "silu"])
@pytest.mark.parametrize("new", ["relu", "relu6"])
def test_an_identity_behind_what_may_be_negative_is_refused(activation, new):
    first = keras.layers.Dense(5, activation=activation, name="a")
    again = keras.layers.Dense(5, activation=activation, name="a")
    target = dense(again, keras.layers.Dense(5, activation=new, name="new"))
    before = target.get_weights()
    with pytest.raises(UserError, match=f"'new' cannot be grown as an identity: its activation {new} cuts"):
        transfer_weights(dense(first), target, grow=["new"])
    assert unchanged(target, before)


@pytest.mark.parametrize(
    ("first", "between", "new", "fits"),
    [
        ("relu", [], "relu", True),
        ("relu", [keras.layers.MaxPooling2D(padding="same"), keras.layers.Dropout(0.5)], "relu", True),
        ("linear", [keras.layers.ReLU()], "relu", True),
        ("linear", [keras.layers.ReLU(negative_slope=0.1)], "relu", False),
        ("linear", [keras.layers.ReLU(max_value=6)], "relu6", True),
        ("linear", [keras.layers.ReLU(max_value=8)], "relu6", False),
        ("linear", [keras.layers.Activation("sigmoid")], "relu6", True),
        ("relu", [keras.layers.Activation("linear")], "relu", True),
        ("relu", [], "relu6", False),
        ("relu", [keras.layers.BatchNormalization()], "relu", False),
        ("relu", [keras.layers.Rescaling(1.0, offset=-1)], "relu", False),
        ("gelu", [], "linear", True),
    ],
)
def test_what_comes_before_a_grown_layer_counts(first, between, new, fits, probe):
    def model(*more):
        start = [
            keras.Input((8, 8, 4)),
            keras.layers.Conv2D(4, 3, padding="same", activation=first, name="a"),
        ]
        copies = [type(layer).from_config(layer.get_config() | {"name": None}) for layer in between]
        return keras.Sequential([*start, *copies, *more])

    target = model(keras.layers.Conv2D(4, 3, padding="same", activation=new, name="new"))
    if fits:
        assert transfer_weights(model(), target, grow="new", probe=probe).max_abs_difference == 0.0
    else:
        with pytest.raises(UserError, match="cuts off values that what comes before it may give"):
            transfer_weights(model(), target, grow="new")


def test_an_activation_of_ones_own_is_none_of_keras_whatever_its_name():
    def relu(x):
        return x - 1

    new = keras.layers.Dense(5, activation=relu, name="new")
    with pytest.raises(UserError, match=r"activation relu\) cannot be grown"):
        transfer_weights(
            dense(keras.layers.Dense(5, activation="relu", name="a")),
            dense(keras.layers.Dense(5, activation="relu", name="a"), new),
            grow="new",
        )


@pytest.mark.parametrize("kind", [keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D])
def test_convolutions_of_any_rank_grow(kind):
    rank = int(kind.__name__[4])

    def network(*more):
        first = kind(4, 3, padding="same", activation="relu", name="a")
        return keras.Sequential([keras.Input((*[4] * rank, 4)), first, *more])

    probe = np.random.default_rng(0).normal(size=(2, *[4] * rank, 4)).astype(np.float32)
    for new in (
        kind(4, 3, padding="same", activation="relu", name="new"),
        kind(4, 1, padding="valid", activation="relu", name="new"),
    ):
        assert transfer_weights(network(), network(new), grow="new", probe=probe).max_abs_difference == 0.0


def test_layers_of_a_nested_model_grow_by_what_is_before_them_in_it():
    def network(*more):
        inner = dense(keras.layers.Dense(5, activation="relu", name="a"), *more, name="inner")
        return dense(inner)

    def new(activation="relu"):
        return keras.layers.Dense(5, activation=activation, name="new")

    batch = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    report = transfer_weights(network(), network(new()), grow="inner/new", probe=batch)
    assert report.max_abs_difference == 0.0
    behind = dense(dense(keras.layers.Dense(5, activation="relu", name="a"), name="inner"), new())
    assert transfer_weights(network(), behind, grow="new", probe=batch).max_abs_difference == 0.0


def residual(*, blocks=1, end="linear", between=(), join=None, frozen=False):
    inputs = keras.Input((6,))
    x = keras.layers.Dense(6, name="first")(inputs)
    for number in range(blocks):
        branch = keras.layers.Dense(8, activation="gelu", name=f"block{number}_in")(x)
        ends = [
            keras.layers.Dense(6, activation=end, name=f"block{number}_out{letter}")(branch)
            for letter in ("a" if join is None else "ab")
        ]
        branch = ends[0] if join is None else join(ends)
        for layer in between:
            branch = type(layer).from_config(layer.get_config() | {"name": None})(branch)
        x = keras.layers.Add(name=f"block{number}_add")([x, branch])
    model = keras.Model(inputs, x)
    model.trainable = not frozen
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"end": "tanh"},
        {"end": "gelu", "frozen": True},
        {"between": [keras.layers.Dropout(0.2), keras.layers.Rescaling(0.3)]},
        {"between": [keras.layers.Activation("relu")]},
        {"join": lambda ends: keras.layers.Multiply()([ends[0], keras.ops.sigmoid(ends[1])])},
    ],
)
def test_a_new_residual_branch_begins_with_nothing(options):
    batch = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    keras.utils.set_random_seed(0)
    report = transfer_weights(residual(blocks=0), residual(**options), grow="block*", probe=batch)
    assert report.max_abs_difference == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"end": "sigmoid"},
        {"between": [keras.layers.Activation("sigmoid")]},
        {"between": [keras.layers.Rescaling(1.0, offset=0.5)]},
        {"between": [keras.layers.Softmax()]},
        {"join": lambda ends: keras.layers.Average()(ends)},
    ],
)
def test_a_branch_that_cannot_be_nothing_is_refused(options):
    target = residual(**options)
    before = target.get_weights()
    with pytest.raises(UserError, match="cannot be grown as an identity"):
        transfer_weights(residual(blocks=0), target, grow="block*")
    assert unchanged(target, before)


def test_a_new_attention_is_nothing_at_first_and_learns():
    def network(blocks):
        inputs = keras.Input((5, 8))
        x = keras.layers.Dense(8, name="first")(inputs)
        for number in range(blocks):
            x = x + keras.layers.MultiHeadAttention(2, 4, name=f"new{number}")(x, x)
        return keras.Model(inputs, x)

    batch = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    target = network(1)
    assert transfer_weights(network(0), target, grow="new*", probe=batch).max_abs_difference == 0.0
    weights = {
        weight.path.removeprefix("new0/"): weight.numpy() for weight in target.get_layer("new0").weights
    }
    assert not weights["attention_output/kernel"].any()
    assert weights["query/kernel"].any()
    assert weights["value/kernel"].any()
    target.compile("sgd", "mse")
    target.train_on_batch(batch, batch)
    assert target.get_layer("new0").get_weights()[-2].any()


# What layers are adapted to.


WORDS = (np.array(["red cat", "red dog", "blue bird"]), np.array(["old car", "new car on the road"]))
TOKENS = (np.array(["cat", "dog", "cat"]), np.array(["car", "bike"]))
NUMBERS = (np.array([3, 5, 5]), np.array([8, 9]))


def measures(place):
    return np.random.default_rng(0).normal(place, 9, (100, 4)).astype(np.float32)


ADAPTED = {
    "normalization": (keras.layers.Normalization, {}, (measures(50), measures(-3))),
    "axis": (keras.layers.Normalization, {"axis": None}, (measures(50), measures(-3))),
    "invert": (keras.layers.Normalization, {"invert": True}, (measures(50), measures(-3))),
    "bins": (keras.layers.Discretization, {"num_bins": 4}, (measures(50), measures(-3))),
    "strings": (keras.layers.StringLookup, {}, TOKENS),
    "masked": (keras.layers.StringLookup, {"mask_token": "", "num_oov_indices": 2}, TOKENS),
    "integers": (keras.layers.IntegerLookup, {}, NUMBERS),
    "text": (keras.layers.TextVectorization, {"output_sequence_length": 4}, WORDS),
    "counts": (
        keras.layers.TextVectorization,
        {"output_mode": "count", "max_tokens": 9, "pad_to_max_tokens": True},
        WORDS,
    ),
    "tf_idf": (
        keras.layers.TextVectorization,
        {"output_mode": "tf_idf", "max_tokens": 9, "pad_to_max_tokens": True},
        WORDS,
    ),
}


def strings(data):
    return keras.ops.convert_to_tensor(data) if data.dtype.kind != "U" else tf.constant(data)


@pytest.mark.parametrize("case", ADAPTED)
@pytest.mark.parametrize("before", ["adapted", "used"])
def test_what_a_layer_was_adapted_to_is_copied(case, before):
    kind, options, (ours, theirs) = ADAPTED[case]

    def network(name, data):
        layer = kind(name="adapted", **options)
        layer.adapt(data)
        dtype = "string" if data.dtype.kind == "U" else data.dtype.name
        inputs = keras.Input(data.shape[1:], dtype=dtype)
        return keras.Model(inputs, layer(inputs), name=name)

    source, target = network("source", ours), network("target", theirs)
    if before == "used":  # Keras has traced the target with what it was adapted to.
        target.predict(strings(theirs), verbose=0)
    assert not np.array_equal(source(strings(ours)), target(strings(ours)))
    report = transfer_weights(source, target, probe=strings(ours))
    assert report.max_abs_difference == 0.0
    assert report.names("copied") == ["adapted"]
    assert report.different_settings == ()
    np.testing.assert_array_equal(target.predict(strings(ours), verbose=0), source(strings(ours)))
    assert report.layers[0].sha256 != transfer_weights(network("other", theirs), target).layers[0].sha256


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        (keras.layers.StringLookup, {"vocabulary": ["a", "b"]}, {"vocabulary": ["b", "c"]}),
        (keras.layers.Discretization, {"bin_boundaries": [1.0, 2.0]}, {"bin_boundaries": [0.5]}),
        (
            keras.layers.StringLookup,
            {"vocabulary": ["a", "b"], "output_mode": "tf_idf", "idf_weights": [0.5, 2.0]},
            {"vocabulary": ["b", "c"], "output_mode": "tf_idf", "idf_weights": [3.0, 4.0]},
        ),
    ],
)
def test_what_a_layer_was_given_is_copied_too(kind, ours, theirs):
    def network(options):
        dtype = "string" if kind is keras.layers.StringLookup else "float32"
        inputs = keras.Input((2,), dtype=dtype)
        return keras.Model(inputs, kind(name="given", **options)(inputs))

    probe = strings(np.array([["b", "z"]]) if "vocabulary" in ours else np.array([[1.5, 9.0]]))
    report = transfer_weights(network(ours), network(theirs), probe=probe)
    assert (report.max_abs_difference, report.different_settings) == (0.0, ())


def test_a_layer_inside_of_another_one_is_adapted_too():
    def network(place):
        scale = keras.layers.Normalization()
        scale.adapt(measures(place))
        return keras.Sequential([keras.Input((3, 4)), keras.layers.TimeDistributed(scale, name="each")])

    probe = np.ones((2, 3, 4), np.float32)
    source, target = network(50), network(-3)
    assert transfer_weights(source, target, probe=probe).max_abs_difference == 0.0


@keras.saving.register_keras_serializable("tests")
class Remembers(keras.layers.Layer):
    """Adds a number that Keras saves in a file of its own, as tokenizers do their vocabulary."""

    def __init__(self, number=0.0, **options):
        super().__init__(**options)
        self.number = number

    def save_assets(self, folder):
        with open(f"{folder}/number.txt", "w") as file:
            file.write(str(self.number))

    def load_assets(self, folder):
        with open(f"{folder}/number.txt") as file:
            self.number = float(file.read())

    def call(self, inputs):
        return inputs + self.number


def test_what_keras_saves_in_files_is_copied():
    source, target = (dense(Remembers(number, name="own")) for number in (2.0, 3.0))
    report = transfer_weights(source, target, probe=np.ones((2, 5), np.float32))
    assert (report.max_abs_difference, target.get_layer("own").number) == (0.0, 2.0)


def test_a_vocabulary_that_has_no_place_changes_nothing():
    def network(words, **options):
        inputs = keras.Input((), dtype="string")
        lookup = keras.layers.StringLookup(vocabulary=words, name="words", **options)
        return keras.Model(inputs, lookup(inputs))

    source, target = network(["a", "b", "c"]), network(["d"], max_tokens=2)
    with pytest.raises(UserError, match=r"'words' cannot hold what 'words' of the source holds \(.*max"):
        transfer_weights(source, target)
    assert target.get_layer("words").get_vocabulary() == ["[UNK]", "d"]


@pytest.mark.parametrize("case", ["strings", "masked", "integers", "text", "counts"])
def test_a_layer_that_is_not_adapted_is_not_copied_over_one_that_is(case):
    kind, options, (ours, _) = ADAPTED[case]

    def network(adapted):
        layer = kind(name="adapted", **options)
        if adapted:
            layer.adapt(ours)
        inputs = keras.Input((), dtype="string" if ours.dtype.kind == "U" else "int64")
        return keras.Model(inputs, layer(inputs))

    with pytest.raises(UserError, match=r"'adapted' of '.*' is not adapted: .*`leave=adapted`"):
        transfer_weights(network(False), network(True))
    target = network(False)
    transfer_weights(network(True), target)
    assert len(target.get_layer("adapted").get_vocabulary(include_special_tokens=False)) > 1


# What differs without weights.


def scaled(name, *scales):
    return keras.Sequential([keras.Input((8, 8, 4)), *scales, convolutions("a", name="inside")], name=name)


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ([keras.layers.Rescaling(2.0, name="more")], [], ("more of one (Rescaling, 2.0, 0.0)",)),
        ([], [keras.layers.Rescaling(2.0, name="more")], ("more of two (Rescaling, 2.0, 0.0)",)),
        (
            [keras.layers.Rescaling(1 / 255, name="scale")],
            [keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")],
            ("scale of one (Rescaling, ", "scale of two (Rescaling, "),
        ),
        (
            [keras.layers.Normalization(mean=3.0, variance=2.0, name="more")],
            [],
            ("more of one (Normalization",),
        ),
        ([keras.layers.Activation("tanh", name="act")], [], ("act of one (Activation, tanh)",)),
        ([keras.layers.Dropout(0.5)], [], ()),
        ([keras.layers.RandomFlip()], [], ()),
        ([keras.layers.Rescaling(0.5, name="x")], [keras.layers.Rescaling(0.5, name="y")], ()),
    ],
)
def test_steps_that_only_one_network_has_are_told(ours, theirs, told):
    report = transfer_weights(scaled("one", *ours), scaled("two", *theirs))
    assert len(report.different_settings) == len(told)
    for text, start in zip(report.different_settings, told, strict=True):
        assert text.startswith(start)
        assert text in report.line()
    assert ("settings differ" in report.line()) == bool(told)


@pytest.mark.parametrize(("ours", "theirs", "count"), [(255.0, 255.0, 0), (255.0, 127.5, 2)])
def test_numbers_between_layers_are_looked_at(ours, theirs, count):
    def network(number):
        inputs = keras.Input((4,))
        return keras.Model(inputs, keras.layers.Dense(3, name="a")(inputs / number - 1.0))

    assert len(transfer_weights(network(ours), network(theirs)).different_settings) == count


def test_hashes_with_another_salt_are_told():
    def network(salt):
        inputs = keras.Input((2,), dtype="string")
        hashed = keras.layers.Hashing(8, salt=salt, name="hashed")(inputs)
        return keras.Model(inputs, keras.layers.Embedding(8, 3, name="table")(hashed))

    assert transfer_weights(network(1), network(1)).different_settings == ()
    told = transfer_weights(network(1), network(2)).different_settings
    assert [text.split(" (")[0].partition(" ")[0] for text in told] == ["hashed", "hashed"]


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ({"activation": "relu"}, {"activation": "gelu"}, ("a (activation: relu, gelu)",)),
        ({"dilation_rate": 1}, {"dilation_rate": 2}, ("a (dilation_rate: (1, 1), (2, 2))",)),
        ({"kernel_initializer": "zeros"}, {"kernel_initializer": "ones"}, ()),
    ],
)
def test_copied_layers_of_other_settings_are_told(ours, theirs, told):
    def network(options):
        return keras.Sequential(
            [keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3, padding="same", name="a", **options)]
        )

    assert transfer_weights(network(ours), network(theirs)).different_settings == told


def test_layers_of_another_type_are_told():
    def network(kind, **options):
        return keras.Sequential([keras.Input((4, 8)), kind(name="norm", **options)])

    report = transfer_weights(
        network(keras.layers.LayerNormalization), network(keras.layers.GroupNormalization, groups=2)
    )
    assert "norm (type: LayerNormalization, GroupNormalization)" in report.different_settings


def test_both_forms_of_efficientnet():
    def network(*more):
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.Normalization(name="normalization")(x)
        for number in more:
            x = keras.layers.Rescaling(number, name="deviations")(x)
        return keras.Model(inputs, keras.layers.Conv2D(4, 3, name="stem_conv")(x), name="efficientnetb0")

    report = transfer_weights(network([1 / 0.229**0.5, 1 / 0.224**0.5, 1 / 0.225**0.5]), network())
    (told,) = report.different_settings
    assert told.startswith("deviations of efficientnetb0 (Rescaling, [2.08")


def test_what_was_declared_is_not_told():
    def network(activation, name):
        return dense(
            keras.layers.Dense(5, name="a"),
            dense(keras.layers.Dense(3, name="b"), keras.layers.Activation(activation), name=name),
        )

    report = transfer_weights(network("relu", "old"), network("tanh", "new"), leave="new", drop="old")
    assert report.different_settings == ()
    assert report.names("left") == ["new/b"]


# Errors, after which nothing is changed.


@pytest.mark.parametrize("shape", [(3, 8, 8, 3), (3, 8, 8), (3, 4), (1, 8, 8, 4, 4), (0, 8, 8, 4)])
def test_a_probe_that_does_not_fit_changes_nothing(shape):
    source, target = convolutions("a"), convolutions("a", "new")
    before = target.get_weights()
    with pytest.raises(UserError, match="cannot be compared on the probe") as refused:
        transfer_weights(source, target, grow="new", probe=np.ones(shape, np.float32))
    assert unchanged(target, before)
    assert len(str(refused.value)) < 500


def test_a_probe_that_does_not_fit_leaves_what_layers_were_adapted_to():
    def network(words, place):
        texts, numbers = keras.Input((1,), dtype="string"), keras.Input((4,))
        lookup = keras.layers.StringLookup(name="words")
        if words:
            lookup.adapt(words)
        scale = keras.layers.Normalization(name="scale")
        scale.adapt(measures(place))
        return keras.Model([texts, numbers], [lookup(texts), scale(numbers)])

    source = network(["a", "b"], 50)
    for words in (["c", "d"], None):
        target, batch = network(words, -3), measures(0)
        scaled = target.get_layer("scale")(batch)
        with pytest.raises(UserError, match="cannot be compared"):
            transfer_weights(source, target, probe=np.ones((2, 9), np.float32))
        assert target.get_layer("words").get_vocabulary() == ["[UNK]", *sorted(words or [], reverse=True)]
        np.testing.assert_array_equal(target.get_layer("scale")(batch), scaled)


@pytest.mark.parametrize("classes", [1, 3])
def test_outputs_that_cannot_be_compared_change_nothing(classes, probe):
    def network(count):
        head = keras.layers.Dense(count, name="head")
        return keras.Sequential([convolutions("a"), keras.layers.Flatten(), head])

    source, target = network(2), network(classes)
    before = target.get_weights()
    with pytest.raises(UserError, match=rf"shapes \[\(3, 2\)\] and \[\(3, {classes}\)\]"):
        transfer_weights(source, target, leave="head", drop="head", probe=probe)
    assert unchanged(target, before)


@pytest.mark.parametrize("growth", ["identitiy", "Identity", "", None, "zeros"])
def test_a_growth_that_is_none_is_refused(growth):
    target = convolutions("a", "new")
    before = target.get_weights()
    with pytest.raises(UserError, match=r"`growth=.*` is not known"):
        transfer_weights(convolutions("a"), target, growth=growth, grow=["new"])
    assert unchanged(target, before)


class Scaled(keras.Model):
    """A subclassed model with a weight of its own."""

    def __init__(self, name="scaled"):
        super().__init__(name=name)
        self.dense = keras.layers.Dense(3, name="dense")
        self.scale = self.add_weight(shape=(3,), initializer="random_normal", name="scale")

    def call(self, inputs):
        return self.dense(inputs) * self.scale


@pytest.mark.parametrize(
    "lazy", [lambda: keras.Sequential([keras.layers.Dense(4, name="a")], name="lazy"), lambda: Scaled("lazy")]
)
def test_models_that_are_not_built_are_refused(lazy):
    for pair in ((convolutions("a"), lazy()), (lazy(), convolutions("a"))):
        with pytest.raises(UserError, match=r"'lazy' is not built: .*; call it on a batch first"):
            transfer_weights(*pair)


def test_the_own_weights_of_a_model_are_copied_and_told():
    source, target, batch = Scaled(), Scaled(), np.ones((2, 4), np.float32)
    source(batch), target(batch)
    report = transfer_weights(source, target, probe=batch)
    assert report.max_abs_difference == 0.0
    assert report.names("copied") == ["dense", "(its own weights)"]
    assert report.parameters("copied") == 4 * 3 + 3 + 3
    plain = dense(keras.layers.Dense(3, name="dense"), size=4)
    with pytest.raises(UserError, match=r"only in the source: \(its own weights\) \[\(3,\)\]"):
        transfer_weights(source, plain)
    assert transfer_weights(source, plain, drop="(its own*").unmatched_source == ("(its own weights)",)


def test_layers_of_one_name_are_told_apart():
    class Twice(keras.Model):
        def __init__(self):
            super().__init__(name="twice")
            self.parts = [keras.layers.Dense(4, name="same") for _ in range(2)]

        def call(self, inputs):
            return self.parts[1](self.parts[0](inputs))

    source, target, batch = Twice(), Twice(), np.ones((2, 4), np.float32)
    source(batch), target(batch)
    report = transfer_weights(source, target, probe=batch)
    assert report.max_abs_difference == 0.0
    assert report.names("copied") == ["same", "same~2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grow": ["nwe"]}, "`grow=nwe` matches no layer of 'two'; did you mean 'new'"),
        ({"grow": ["new", "block?_x"]}, r"`grow=block\?_x` matches no layer of 'two'; it has a, new"),
        ({"grow": ["new"], "leave": ["haed"]}, "`leave=haed` matches no layer of 'two'"),
        ({"grow": ["new"], "drop": ["gone"]}, "`drop=gone` matches no layer of 'one'"),
        ({"grow": ["new"], "rename": {"b": "a"}}, "`rename=b` matches no layer of 'two'"),
        ({"grow": ["new"], "rename": {"a": "b"}}, "`rename=b` matches no layer of 'one'"),
        ({"grow": [""]}, "`grow=` matches no layer of 'two'"),
    ],
)
def test_patterns_that_match_nothing_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        transfer_weights(convolutions("a", name="one"), convolutions("a", "new", name="two"), **arguments)


def test_a_plain_string_is_one_pattern(probe):
    source, target = convolutions("a", "old"), convolutions("a", "new")
    report = transfer_weights(source, target, grow="new", drop="old", probe=probe)
    assert (report.names("grown"), report.unmatched_source) == (["new"], ("old",))


def test_messages_about_many_layers_are_short():
    source, target = (
        dense(*(keras.layers.Dense(5, name=f"{word}{number}") for number in range(60)))
        for word in ("one", "other")
    )
    with pytest.raises(
        UserError, match=r"and 54 more; only in the source: .* and 54 more; declare"
    ) as refused:
        transfer_weights(source, target)
    assert len(str(refused.value)) < 900
    with pytest.raises(UserError, match="matches no layer") as refused:
        transfer_weights(source, target, grow="nothing_like_it")
    assert len(str(refused.value)) < 300
