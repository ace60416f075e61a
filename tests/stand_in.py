"""`recon` with a network that costs nothing, in a process of its own that says how much memory it took.

python tests/stand_in.py depth video.mp4 -o out ...
"""

import re
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32

from recon.models import Quantity
from recon.types import Picture
from recon_cli.cli import run


class Brightness:
    """A network for windows of 32 frames: what is bright is near. Streaming, what was bright stays near for a while."""

    quantity: Quantity = "disparity"
    window = 32
    batch = 4
    identity = {"name": "brightness"}  # noqa: RUF012 - a constant

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        return height // 15, width // 15

    def encode(self, pictures: Sequence[Picture]) -> list[Float32[np.ndarray, "h w"]]:
        return [picture[7::15, 7::15].mean(axis=2, dtype=np.float32) for picture in pictures]

    def decode(self, features: Sequence[np.ndarray], size: tuple[int, int]) -> Float32[np.ndarray, "t h w"]:
        return np.stack([cv2.resize(feature, size[::-1]) for feature in features]) + np.float32(1)

    def follow(
        self, features: np.ndarray, memory: np.ndarray | None, size: tuple[int, int]
    ) -> tuple[Float32[np.ndarray, "h w"], np.ndarray]:
        memory = features if memory is None else np.float32(0.9) * memory + np.float32(0.1) * features
        return self.decode([memory], size)[0], memory

    def saved(self, memory: np.ndarray) -> dict[str, np.ndarray]:
        return {"brightness": memory}

    def restored(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return arrays["brightness"]


def choose(network: Callable[[], Any]) -> None:
    """Have `recon` in this process take such a network: no other is looked for, and torch is not imported (2 s)."""
    module: Any = ModuleType("recon.models.choose")
    module.choose_network = lambda *_args, **_kwargs: network()
    module.choose_metric = lambda *_args, **_kwargs: None
    sys.modules[module.__name__] = module


def peak_memory() -> int:
    """Kilobytes that this process took at most.

    (On Linux, what getrusage says is never less than what the process took that started this one: a whole pytest.)
    """
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    choose(Brightness)
    exit_code = run(sys.argv[1:])
    sys.stdout.write(f"{peak_memory()}\n")
    sys.exit(exit_code)
