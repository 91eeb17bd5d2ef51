"""What a fresh process says when it starts TensorFlow, and what graphs of ours need when they are loaded."""

import json
import os
import subprocess
import sys

import numpy as np
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.text.cleaning import scrub_texts


def test_a_start_on_a_sound_machine_without_a_gpu_says_nothing():
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    script = (
        "from xmodal.core.tensorflow_start import start_tensorflow; start_tensorflow(); "
        "import tensorflow as tf; cpu = tf.config.list_physical_devices('CPU')[0]; "
        # Refused once the runtime has started.
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2); "
        # oneDNN transposes floats alone, and says so once.
        "pixels = tf.transpose(tf.zeros([2, 3], tf.uint8)); tf.function(tf.transpose)(pixels); "
        "assert len(tf.config.list_logical_devices('CPU')) == 2"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_saved_sentences_and_cleaning_run_without_this_package(tmp_path):
    bridge = Bridge(("cat", "wild_horse", "猫头鹰"), "hedged", ("a photo of {}", "{}, seen from afar"))
    module = tf.Module()
    module.sentences = tf.function(bridge.sentences, input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    module.scrubbed = tf.function(scrub_texts, input_signature=[tf.TensorSpec([None], tf.string)])
    for function in (module.sentences, module.scrubbed):
        graph = function.get_concrete_function().graph
        assert not [op.type for op in graph.get_operations() if "PyFunc" in op.type]
    tf.saved_model.save(module, str(tmp_path / "model"))
    probabilities = np.random.default_rng(2).dirichlet([0.2] * 3, 1000).astype(np.float32)
    probabilities[:2] = [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]
    np.save(tmp_path / "rows.npy", probabilities)
    script = """
import json, sys, numpy as np, tensorflow as tf, tensorflow_text
model = tf.saved_model.load("model")
sentences = model.sentences(np.load("rows.npy")).numpy()
texts, counts = model.scrubbed(tf.constant(["a@example.org, GB82WEST12345698765432", ""]))
assert not any(name.startswith("xmodal") for name in sys.modules)
json.dump(
    {
        "sentences": [[sentence.decode() for sentence in row] for row in sentences],
        "texts": [text.decode() for text in texts.numpy()],
        "marks": int(counts.numpy().sum()),
    },
    open("out.json", "w"),
)
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    loaded = json.loads((tmp_path / "out.json").read_text())
    assert loaded["sentences"] == [bridge.describe(row) for row in probabilities]
    assert (loaded["texts"], loaded["marks"]) == (["[EMAIL], [IBAN]", ""], 2)
