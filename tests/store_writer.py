"""Writes a depth store from a toy inference; test_store.py runs it as a process of its own and kills it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recon.io.store import DepthStore
from recon.types import Checkpoint, Chunk, DepthEstimate

KEY = {"source": "toy"}


def produced(checkpoint: Checkpoint | None, chunks: int) -> Iterator[Chunk]:
    """Chunks of three frames, where every map depends on all before it, through the state alone."""
    state = np.zeros((40, 60)) if checkpoint is None else checkpoint.arrays["state"]
    for window in range(0 if checkpoint is None else checkpoint.window, chunks):
        estimates = []
        for index in range(3 * window, 3 * window + 3):
            state = np.sin(state * 1.7 + index + np.arange(60) / 9)
            estimates.append(DepthEstimate(index, index / 24, window // 5, state.astype(np.float32)))
        yield Chunk(tuple(estimates), Checkpoint(window // 5, window + 1, {"state": state}))


def write(folder: Path, chunks: int) -> None:
    """Begin, or go on where a killed run stopped."""
    with DepthStore.open(folder, KEY, "disparity") as store:
        if not store.complete:
            for chunk in produced(store.checkpoint, chunks):
                store.append(chunk)
            store.finish()


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
