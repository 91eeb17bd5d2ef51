"""The comparison with peers: what it says, and that the peers compute the same."""

import functools
import json
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver
from pages import ROOT
from rendering import words
from tiny_data import save_tiny_data

from xmodal.bench import __main__ as bench
from xmodal.bench import limits, operations, paired_timing, plain_flow, speed
from xmodal.config.config import Config
from xmodal.config.flags import from_flags, parse
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.models.heads import text_classifier
from xmodal.models.image_backbones import image_backbone
from xmodal.models.text_encoder import text_encoder

COMMAND = "python -m xmodal.bench --bench=speed"


def settings(*flags) -> Config:
    with flagsaver.flagsaver():
        parse(["bench", *flags])
        return from_flags()


@pytest.fixture
def small(monkeypatch):
    """Rounds of seconds."""
    monkeypatch.setattr(speed.paired_timing, "REPEATS", 1)
    monkeypatch.setattr(speed, "SENTENCES", 64)
    monkeypatch.setattr(speed, "TOKENS", (8,))
    monkeypatch.setattr(speed, "FINE_TUNED_TOKENS", 8)
    monkeypatch.setattr(limits, "ROUNDS", 1)
    monkeypatch.setattr(limits, "SIDES", (64,))
    monkeypatch.setattr(limits, "CONVOLUTIONS", ((2, 8, 4, 4),))
    monkeypatch.setattr(limits, "COPIED_BYTES", 2**20)


def test_a_benchmark_prints_its_rows_and_records_them(small, tmp_path, capsys, monkeypatch):
    save_tiny_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    flags = ["--flagfile=small.cfg", "--rows=input", "--record=record.json", "--batch_size=4"]
    with flagsaver.flagsaver():
        assert bench.main([*COMMAND.split()[2:], *flags, "--target=VGG16"]) == 0
    record = json.loads((tmp_path / "record.json").read_text())
    (row,) = record["rows"]
    assert row["what"] == "reading, decoding and augmenting"
    assert 0 < row["ratio_least"] <= row["ratio"] <= row["ratio_most"]
    assert set(record["limits"]) == {"float32", "bfloat16"}
    assert all(rate > 0 for rates in record["limits"].values() for rate in rates.values())
    lines = capsys.readouterr().out.splitlines()
    (told,) = (line for line in lines if line.startswith("reading, decoding and augmenting  images a second"))
    assert f"{row['ratio']:.3g} (" in told


def test_without_pytorch_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "xmodal.bench.torch_peers", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        UserError, match=r"compares with PyTorch .*; pip install .*\[bench\]', or choose others of `rows`"
    ):
        speed.peers()


def test_what_stops_a_row_stops_the_benchmark(small, monkeypatch):
    # In half precision too, of which a run makes no small forms.
    monkeypatch.setattr(speed, "PRECISIONS", ("mixed_bfloat16",))
    told = settings("--rows=bert", "--text_encoder=nowhere", "--offline", "--small")
    with pytest.raises(UserError, match="`text_encoder=nowhere"):
        speed.measure(told, Clock(lambda line: None))


def test_a_rate_stands_beside_the_limit_of_its_precision():
    most = {"float32": {"convolution_gflops": 200.0}, "bfloat16": {"convolution_gflops": 400.0}}
    row = {"what": "features", "gflops": 100.0, "dtype": "bfloat16"}
    assert speed._beside_limit(row, most)["share_of_limit"] == 0.25
    assert speed._beside_limit({"what": "tokenizer"}, most) == {"what": "tokenizer"}


def test_what_the_time_of_operations_goes_to():
    matrix = tf.random.stateless_normal((500, 500), (0, 0))
    multiply = tf.function(lambda: tf.tanh(matrix @ matrix @ matrix))
    multiply()
    spent = operations.shares(multiply)
    # With oneDNN: _MklMatMul.
    assert next(iter(spent)).endswith("MatMul")
    assert "Tanh" in spent
    assert sum(spent.values()) == pytest.approx(1)


def test_a_slower_row_tells_what_its_time_goes_to():
    numbers = tf.ones(100_000)
    ours = tf.function(lambda: tf.tanh(numbers))
    ours()
    assert "spent" not in speed._explain({"ratio": 1.0}, ours)
    told = speed._explain({"ratio": 0.9}, ours)
    assert "Tanh" in told["spent"]
    row = {"spent": {"MatMul": 0.75, "Cast": 0.25}, "parts": {"imports": (2.0, 1.5)}}
    assert paired_timing.besides(row) == (
        "imports 2.00 s, the other 1.50 s; its operations' time goes to MatMul 75%, Cast 25%"
    )


@pytest.mark.slow
def test_the_first_step_of_a_training_is_timed_in_parts(small):
    (row,) = speed.start(settings("--image_size=32"), tf.distribute.get_strategy())
    assert list(row["parts"]) == ["imports", "model", "training"]
    ours, theirs = (sum(both[side] for both in row["parts"].values()) for side in (0, 1))
    assert 0.5 * row["first"] < ours < row["first"]
    assert 0.5 * row["second"] < theirs < row["second"]
    assert min(row["megabytes"], row["megabytes_of_peer"]) > 100


def test_an_unknown_row():
    with pytest.raises(UserError, match="--rows=bret is not known; did you mean 'bert'"):
        settings("--rows=bret")


def test_a_busy_machine_is_told():
    assert limits.warning(0.05) is None
    assert limits.warning(None) is None
    assert limits.warning(0.5) == (
        "warning: other processes use 50% of this machine: stop them and measure again, "
        "for PyTorch loses more to them than TensorFlow"
    )


def test_what_others_use_is_told_without_what_is_used_here(monkeypatch, tmp_path):
    statistics = tmp_path / "stat"
    # user, nice, system, idle, waiting: in hundredths of a second
    statistics.write_text("cpu 100 0 0 100 0 0 0 0\n")
    monkeypatch.setattr(limits, "STATISTICS", statistics)
    monkeypatch.setattr(limits, "_own_seconds", iter([0.0, 2.0]).__next__)
    monkeypatch.setattr(limits.os, "sysconf", lambda name: 100)
    others = limits.others_since()
    statistics.write_text("cpu 500 0 0 700 0 0 0 0\n")
    # Of ten seconds, six were idle and two were its own.
    assert others() == pytest.approx(0.2)
    monkeypatch.setattr(limits, "STATISTICS", tmp_path / "nowhere")
    assert limits.others_since()() is None


def test_the_operations_of_convolutions_are_counted():
    trunk = image_backbone("VGG16", 32, ("block1_pool",), cache=None)
    # Two layers at 32 x 32: 3 to 64 and 64 to 64 channels, 3 x 3 kernels.
    assert limits.convolution_flops(trunk) == 2 * 32 * 32 * 9 * (3 * 64 + 64 * 64)


def test_pytorch_computes_what_keras_does():
    pytest.importorskip("torch")
    from xmodal.bench import torch_peers

    names = ("block1_pool", "block2_pool")
    trunk = image_backbone("VGG16", 32, names, cache=None)
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    theirs = torch_peers.forward(torch_peers.vgg(trunk, names), [(images,)], "float32")()
    np.testing.assert_allclose(theirs, trunk(tf.constant(images)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("first", ["all", "block2"])
def test_pytorch_trains_the_same_layers_of_the_same_classifier(first):
    pytest.importorskip("torch")
    from xmodal.bench import torch_peers

    names = ("block1_pool", "block2_pool")
    told = settings("--target=VGG16", f"--features={','.join(names)}", "--image_size=32")
    model, trunk = speed.image_classifier(told, tf.distribute.get_strategy(), first)
    module = torch_peers.vgg(trunk, names, model.get_layer("logits"))
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    theirs = torch_peers.answers(module, (images,))
    np.testing.assert_allclose(theirs, model(images, training=False), rtol=1e-4, atol=1e-3)
    torch_peers.freeze(module, "block" if first == "all" else first)
    learns = [weight.numel() for weight in module.parameters() if weight.requires_grad]
    assert sorted(learns) == sorted(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    slow = functools.partial(torch_peers.torch.optim.SGD, lr=1e-6)
    step = torch_peers.trainer(module, [(images,)], [np.arange(3)], slow, "float32")
    losses = [step() for _ in range(3)]
    assert losses[-1] < losses[0]


def test_pytorch_makes_the_same_spectrograms(small, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    monkeypatch.setattr(speed, "READ_SOUNDS", 5)
    monkeypatch.setattr(speed, "SOUND_BATCH", 2)
    (row,) = speed.read_sounds(settings("--image_size=32"), tf.distribute.get_strategy())
    assert row["ratio"] > 0
    assert row["largest_difference"] < 1e-3


@pytest.fixture
def layout(tmp_path):
    """A tiny BERT in the layout that keras-nlp and transformers read, with the largest number of a token."""
    transformers = pytest.importorskip("transformers")
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmno")
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(vocab_size=20_000, **sizes)).save_pretrained(tmp_path)
    return tmp_path


def test_transformers_reads_texts_as_keras_does(layout):
    pytest.importorskip("torch")
    from xmodal.bench import torch_peers

    model = text_classifier(text_encoder(str(layout), 8).model, 3)
    module = torch_peers.bert(str(layout), model.get_layer("logits"))
    ids = np.random.default_rng(0).integers(5, 20, (4, 8)).astype(np.int32)
    mask = np.arange(8) < np.array([[8], [8], [5], [3]])
    tokens = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": mask}
    theirs = torch_peers.answers(module, (ids.astype(np.int64), mask.astype(np.int64)))
    np.testing.assert_allclose(theirs, model(tokens, training=False), rtol=1e-4, atol=1e-5)


def test_rows_beside_pytorch(small, layout):
    pytest.importorskip("torch")
    flags = ("--features=block1_pool", "--batch_size=4", "--text_batch_size=4", "--image_size=32")
    told = settings("--target=VGG16", f"--text_encoder={layout}", *flags)
    strategy = tf.distribute.get_strategy()
    rows = [
        *speed.forward(told, strategy),
        *speed._train(told, strategy, "all"),
        *speed.bert(told, strategy),
    ]
    peers = ["PyTorch", "PyTorch", "Keras fit", "transformers", "transformers"]
    assert [row["peer"] for row in rows] == peers
    assert rows[0]["gflops"] > 0
    for row in rows:
        assert min(row["first"], row["second"]) > 0
        assert row.get("largest_difference", 0) < 1e-3


def test_a_record_is_rendered_in_both_languages(render_results, tmp_path, monkeypatch):
    pair = {"first": 300.0, "second": 200.0, "ratio": 1.5, "ratio_least": 1.4, "ratio_most": 1.6}
    rates = {"matrix_gflops": 250.0, "convolution_gflops": 270.0, "copy_gigabytes": 40.0}
    row = {"what": "VGG19 features, float32", "unit": "images a second", "peer": "PyTorch", **pair}
    record = {
        "bench": "speed",
        "busy": 0.02,
        "threads": 2,
        "repeats": 3,
        "limits": {"float32": rates},
        "rows": [row | {"share_of_limit": 0.6, "largest_difference": 1e-6, "others": 0.3}],
        "hardware": {"cores": 2, "cpu": "a processor"},
        "flags": ["--experiment=vgg_to_bert", "--dataset=mnist_5k", "--seed=0"],
        "commit": "0" * 40,
        "wall_seconds": 60,
    }
    (tmp_path / "speed.json").write_text(json.dumps(record))
    monkeypatch.setattr(render_results, "TEN", (("speed", "features"),))
    assert "VGG19 features in float32, images a second: 300 | PyTorch: 200; 1.5 times" in (
        render_results.headlines(tmp_path)
    )
    assert "VGG19 特征，float32，每秒图像数: 300 | PyTorch: 200;" in (
        render_results.ten_headlines(tmp_path, words.CHINESE)
    )
    assert (
        "60% of the machine's rate of convolutions; outputs differ by 1.0e-06 of the largest; "
        "others used 30% of the machine |"
    ) in render_results.render(tmp_path)


def test_epochs_that_are_left_out_are_reckoned_from_the_last_one():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", plain_flow._loss())
    inputs, labels = np.zeros((8, 2), np.float32), np.zeros(8, np.int32)
    assert plain_flow._fit(model, inputs, labels, size=4, epochs=3, timed_epochs=3) == 0
    before = time.perf_counter()
    reckoned = plain_flow._fit(model, inputs, labels, size=4, epochs=21, timed_epochs=1)
    assert 0 < reckoned / 20 < time.perf_counter() - before


def test_the_memory_of_a_process_is_not_that_of_the_one_that_started_it():
    held = np.ones(80_000_000)
    script = "from xmodal.bench.first_step import peak_megabytes; print(peak_megabytes())"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert float(done.stdout) < held.nbytes / 1e6, done.stderr
