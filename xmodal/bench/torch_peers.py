"""The same networks in PyTorch, with the same weights: what xmodal is compared with."""

import io
import wave
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
import transformers

from xmodal.bench.limits import threads
from xmodal.data.sounds import LOWEST_HERTZ, RANGE, SMALLEST, SpectrogramShape

# What `keras.applications.vgg19.preprocess_input` takes from blue, green and red.
MEANS = (103.939, 116.779, 123.68)

torch.set_num_threads(threads())
# A bar for every model that is loaded would stand between the lines of the stages.
transformers.utils.logging.disable_progress_bar()


class Vgg(torch.nn.Module):
    """RGB images (B, 3, H, W) from 0 to 255 -> pooled features (B, D), or logits (B, C).

    Args:
        steps: layers by their Keras names.
        features: names of those whose maps are averaged and maximised.
        head: what reads all of these.
    """

    def __init__(self, steps: dict[str, torch.nn.Module], features: Sequence[str], head: torch.nn.Module):
        super().__init__()
        self.means = torch.nn.Buffer(torch.tensor(MEANS).reshape(1, 3, 1, 1))
        self.steps = torch.nn.ModuleDict(steps)
        self.features, self.head = features, head

    def forward(self, images):
        """Returns the features or logits."""
        maps, pooled = images.flip(1) - self.means, []
        for name, step in self.steps.items():
            maps = step(maps)
            if name in self.features:
                pooled += [maps.mean((2, 3)), maps.amax((2, 3))]
        return self.head(torch.cat(pooled, dim=1))


class Bert(torch.nn.Module):
    """Token numbers (B, T) and mask (B, T) -> the mean of the tokens' vectors (B, D), or logits (B, C).

    Args:
        encoder: a BERT of transformers.
        head: what reads the mean.
    """

    def __init__(self, encoder: torch.nn.Module, head: torch.nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, tokens, mask):
        """Returns the vectors or logits."""
        vectors = self.encoder(tokens, attention_mask=mask).last_hidden_state
        valid = mask.unsqueeze(-1).to(vectors.dtype)
        return self.head((vectors * valid).sum(1) / valid.sum(1))


def vgg(trunk: keras.Model, features: Sequence[str], logits: keras.layers.Dense | None = None) -> Vgg:
    """Builds a VGG trunk in PyTorch, with the same weights, and the layer of a classifier on it.

    Args:
        trunk: RGB images (B, H, W, 3) from 0 to 255 -> features (B, D), see `image_backbones.image_backbone`.
        features: names of the layers that it reads.
        logits: the layer that ends the classifier, None for the features alone.
    """
    module = Vgg(_steps(trunk), features, _head(logits))
    return module.to(memory_format=torch.channels_last)


def bert(folder: str, logits: keras.layers.Dense | None = None) -> Bert:
    """Loads a BERT in the Hugging Face layout by transformers.

    Args:
        folder: with config.json and model.safetensors.
        logits: as for `vgg`; None for sentence vectors alone.
    """
    # As keras-nlp's BERT has it; GELU by erf, with which the weights were trained, is another function.
    options = {"hidden_act": "gelu_pytorch_tanh", "use_safetensors": True, "local_files_only": True}
    encoder = transformers.AutoModel.from_pretrained(folder, **options)
    return Bert(encoder, _head(logits))


def _head(logits: keras.layers.Dense | None) -> torch.nn.Module:
    if logits is None:
        return torch.nn.Identity()
    kernel, bias = (torch.from_numpy(np.array(weight)) for weight in logits.get_weights())
    layer = torch.nn.Linear(*kernel.shape)
    layer.weight.data, layer.bias.data = kernel.T.contiguous(), bias
    return layer


def _steps(trunk: keras.Model) -> dict[str, torch.nn.Module]:
    steps: dict[str, torch.nn.Module] = {}
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.Conv2D):
            convolution = torch.nn.Conv2d(layer.kernel.shape[2], layer.kernel.shape[3], 3, padding=1)
            kernel, bias = (torch.from_numpy(np.array(weight)) for weight in layer.get_weights())
            convolution.weight.data = kernel.permute(3, 2, 0, 1).contiguous()
            convolution.bias.data = bias
            steps[layer.name] = torch.nn.Sequential(convolution, torch.nn.ReLU(inplace=True))
        elif isinstance(layer, keras.layers.MaxPooling2D):
            steps[layer.name] = torch.nn.MaxPool2d(2)
    return steps


def forward(module: torch.nn.Module, batches: Sequence[tuple], precision: str) -> Callable[[], np.ndarray]:
    """Returns what passes batches of NumPy arrays through a module: outputs (N, ...) in float32.

    Args:
        module: its arguments are those of a batch.
        batches: tuples of arrays; images (B, H, W, 3) are brought into PyTorch's layout before.
        precision: "float32", or "mixed_bfloat16" for weights and activations in bfloat16.
    """
    half = precision != "float32"
    module = (module.bfloat16() if half else module).train(False)
    tensors = [tuple(_tensor(part, half) for part in batch) for batch in batches]

    def run() -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([module(*batch).float().numpy() for batch in tensors])

    return run


def spectrograms(files: Sequence[bytes], shape: SpectrogramShape, size: int) -> Callable[[], np.ndarray]:
    """Returns what makes log-mel pictures (N, H, H) of WAV files, as `sounds.spectrogram` does.

    Args:
        files: of 16 bits, one channel and `shape.samples` samples.
        shape: how they are cut.
        size: of a batch.
    """
    weights = tf.signal.linear_to_mel_weight_matrix(
        shape.side, shape.transform // 2 + 1, shape.rate, LOWEST_HERTZ, shape.rate / 2
    )
    mel, window = torch.from_numpy(weights.numpy()), torch.hann_window(shape.frame)
    padding = max(shape.frame - shape.hop, 0)

    def samples(file: bytes) -> np.ndarray:
        with wave.open(io.BytesIO(file)) as reader:
            return np.frombuffer(reader.readframes(shape.samples), "<i2").astype(np.float32) / 2**15

    def pictures(batch: Sequence[bytes]) -> np.ndarray:
        waves = torch.from_numpy(np.stack([samples(file) for file in batch]))
        padded_waves = torch.nn.functional.pad(waves, (padding // 2, padding - padding // 2))
        frames = padded_waves.unfold(1, shape.frame, shape.hop) * window
        power = torch.fft.rfft(frames, shape.transform).abs().square()
        loudness = (power @ mel).reshape(len(batch), shape.side, shape.hops, shape.side).mean(2)
        decibels = 10 * torch.log10(loudness + SMALLEST)
        levels = decibels - decibels.amax((1, 2), keepdim=True)
        return (255 * (1 + levels / RANGE)).clamp(0, 255).transpose(1, 2).flip(1).numpy()

    def run() -> np.ndarray:
        with torch.inference_mode():
            starts = range(0, len(files), size)
            return np.concatenate([pictures(files[start : start + size]) for start in starts])

    return run


def trainer(
    module: torch.nn.Module,
    batches: Sequence[tuple],
    labels: Iterable[np.ndarray],
    optimizer: Callable,
    precision: str,
) -> Callable[[], float]:
    """Returns what takes a step with each batch and gives the last loss.

    Args:
        module: as for `forward`; its trainable weights learn.
        batches: as for `forward`.
        labels: of each batch (B,).
        optimizer: parameters -> a PyTorch optimizer.
        precision: "float32", or "mixed_bfloat16" for autocast: weights stay float32, as in Keras.
    """
    half = precision != "float32"
    module.train()
    torch_optimizer = optimizer([weight for weight in module.parameters() if weight.requires_grad])
    tensors = [tuple(_tensor(part, False) for part in batch) for batch in batches]
    truth = [torch.from_numpy(part).long() for part in labels]
    loss_of = torch.nn.CrossEntropyLoss()

    def run() -> float:
        for batch, answers in zip(tensors, truth, strict=True):
            with torch.autocast("cpu", dtype=torch.bfloat16) if half else nullcontext():
                logits = module(*batch)
            loss = loss_of(logits.float(), answers)
            torch_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch_optimizer.step()
        return float(loss.detach())

    return run


def freeze(module: Vgg, first: str) -> None:
    """Freezes a `vgg` up to the first layer whose name has a prefix."""
    trainable = False
    for name, step in module.steps.items():
        trainable = trainable or name.startswith(first)
        step.requires_grad_(trainable)


def answers(module: torch.nn.Module, batch: tuple) -> np.ndarray:
    """Returns what a module gives for one batch as it is, without dropout, in float32."""
    module.train(False)
    with torch.inference_mode():
        return module(*(_tensor(part, False) for part in batch)).float().numpy()


def _tensor(array: np.ndarray, half: bool):
    if array.ndim == 4:
        images = torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return images.bfloat16() if half else images
    return torch.from_numpy(array)


def sgd() -> Callable:
    """Returns what makes the optimizer that `optimizers.optimizer_maker` makes of "sgd"."""
    # Fused: our update is one pass over the weights too.
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "fused": True}
    return lambda weights: torch.optim.SGD(weights, lr=1e-3, **options)


def adamw() -> Callable:
    """Returns what makes that of "adamw"."""
    return lambda weights: torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01, fused=True)


def tokenizer(folder: str, texts: Sequence[str], length: int) -> Callable[[], Any]:
    """Returns what cuts texts into tokens by transformers, padded to the longest of them."""
    tokenize = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return lambda: tokenize(
        list(texts), padding=True, truncation=True, max_length=length, return_tensors="np"
    )
