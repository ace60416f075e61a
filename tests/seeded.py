"""Weights and clips that two implementations can both make, from names and seeds alone.

The parity vectors in ``data/parity`` are outputs of the published code on exactly these numbers, so that no checkpoint
is needed to compare with it: every tensor has a generator of its own, seeded by the hash of "seed:name".
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from recon.models.vda import Size, VideoDepthAnything

PARITY = Path(__file__).parent / "data" / "parity"

Shapes = dict[str, tuple[int, ...]]


def published_shapes(size: str) -> Shapes:
    """Name and shape of every tensor in a published checkpoint."""
    table = json.loads((PARITY / "shapes.json").read_text(encoding="utf-8"))
    return {name: tuple(shape) for name, shape in table[size].items()}


def weights(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """A value for each tensor; the time encodings (``.pe``) are computed by a network itself and left out."""
    return {name: weight(name, shape, seed) for name, shape in shapes.items() if not name.endswith(".pe")}


def network(size: Size, seed: int) -> VideoDepthAnything:
    """The network on seeded weights, ready for inference."""
    with torch.device("meta"):
        model = VideoDepthAnything(size)
    tensors = weights(published_shapes(size), seed)
    model.load_weights({name: torch.from_numpy(values) for name, values in tensors.items()})
    return model.eval().requires_grad_(requires_grad=False)


def weight(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """float32 noise, scaled by the tensor's role so that activations stay near one."""
    noise = generator(seed, name).standard_normal(shape, dtype=np.float32)
    role = name.rsplit(".", 1)[-1]
    if name.endswith("output_conv2.2.bias"):  # keeps the last ReLU open
        return np.full(shape, 1.5, np.float32)
    if role == "weight" and "norm" in name:
        return 1.0 + 0.1 * noise
    if role in _SPREAD:
        mean, spread = _SPREAD[role]
        return mean + spread * noise if mean else spread * noise
    return noise / np.float32(np.sqrt(_fan_in(name, shape)))


_SPREAD = {
    "gamma": (0.3, 0.05),
    "bias": (0.0, 0.05),
    "cls_token": (0.0, 0.2),
    "mask_token": (0.0, 0.2),
    "pos_embed": (0.0, 0.2),
}


def _fan_in(name: str, shape: tuple[int, ...]) -> int:
    transposed = name.endswith(("resize_layers.0.weight", "resize_layers.1.weight"))
    return shape[0] if transposed or len(shape) == 1 else int(np.prod(shape[1:]))


def generator(seed: int, name: str) -> np.random.Generator:
    """The generator that belongs to a name."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def clip(frames: int, height: int, width: int, seed: int) -> np.ndarray:
    """uint8 RGB (frames, height, width, 3): five blobs that drift over a texture, with noise."""
    random = generator(seed, "clip")
    start, drift = random.uniform(0, 1, (5, 2)), random.uniform(-0.01, 0.01, (5, 2))
    color, radius = random.uniform(40, 220, (5, 3)), random.uniform(0.15, 0.4, 5)
    pictures = np.zeros((frames, height, width, 3), np.uint8)
    for time in range(frames):
        picture = _texture(time, height, width)
        for blob in range(5):
            middle = (start[blob] + time * drift[blob]) * (height, width)
            picture += _bump(height, width, middle, radius[blob])[..., None] * (color[blob] - 90)
        picture += random.normal(0, 3, picture.shape)
        pictures[time] = np.clip(np.round(picture), 0, 255)
    return pictures


def _texture(time: int, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.full((height, width, 3), 90.0, np.float32)
    picture += 30 * np.sin(x / 5 + time / 7)[..., None] + 20 * np.cos(y / 4 - time / 9)[..., None]
    return picture


def _bump(height: int, width: int, middle: np.ndarray, radius: float) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.exp(-(((y - middle[0]) / height) ** 2 + ((x - middle[1]) / width) ** 2) / radius**2)
