"""Requests that TensorFlow Serving asks of a model before any user does: nobody waits for the first answer.

They stand where it looks for them: `assets.extra/tf_serving_warmup_requests`, a TFRecord of `PredictionLog`
messages (tensorflow.org/tfx/serving/saved_model_warmup).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from xmodal.data.gif_frames import BLACK
from xmodal.data.wav_files import wav_of

FILE = "assets.extra/tf_serving_warmup_requests"
# Batches that are asked: a single user, and many.
BATCHES = (1, 8)


def write_requests(signatures: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Writes requests for all signatures of a SavedModel.

    Args:
        signatures: name -> names of its inputs, of which "frames" are frames, and all else strings (B,).
        folder: of the SavedModel.
    """
    # What a user may send, by the name of the input.
    examples: dict[str, bytes | np.ndarray] = {
        "image_bytes": tf.io.encode_png(np.full((32, 32, 3), 128, np.uint8)).numpy(),
        "audio_bytes": wav_of(np.zeros(8000, np.float32), 8000),
        "video_bytes": BLACK,
        "frames": np.zeros((1, 32, 32, 3), np.float32),
        "text": b"a photo of something",
        "answers": b"a photo of something",
    }
    path = folder / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as file:
        for signature, names in signatures.items():
            for batch in BATCHES:
                inputs = {name: _tensor([examples[name]] * batch) for name in names}
                file.write(_prediction_log(signature, inputs))


def _tensor(contents: Sequence[bytes | np.ndarray]) -> Any:
    # An array of NumPy would lose zeros at the end of bytes.
    return tf.make_tensor_proto(np.stack(contents) if isinstance(contents[0], np.ndarray) else contents)


def _prediction_log(signature: str, inputs: Mapping[str, Any]) -> bytes:
    """A PredictionLog as bytes; its classes are in tensorflow-serving-api, which is not needed for this."""
    model = _field(3, signature.encode())  # ModelSpec.signature_name
    entries = (
        _field(1, name.encode()) + _field(2, tensor.SerializeToString()) for name, tensor in inputs.items()
    )
    request = _field(1, model) + b"".join(_field(2, entry) for entry in entries)  # PredictRequest
    return _field(6, _field(1, request))  # PredictionLog.predict_log, PredictLog.request


def _field(number: int, content: bytes) -> bytes:
    """A field of protobuf's wire format that has a length."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
