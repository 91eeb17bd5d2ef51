"""Cross-modal transfer learning with Keras 3 on TensorFlow."""

import os

# Keras reads its backend when it is first imported; xmodal's loops are written for TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

__version__ = "0.1.0"
