"""What the scripts of this folder share: a disparity map for every picture of a folder, one picture at a time."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recon.errors import ReconError
from recon.files import whole_file
from recon.io.pictures import open_pictures, read_picture
from recon.settings import SamplingSettings

Network = Callable[[np.ndarray], np.ndarray]
"""Picture (h, w, 3), RGB, uint8 -> disparity (h, w): near is large."""


def arguments(about: str | None) -> argparse.ArgumentParser:
    """The two folders of every script."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="folder of pictures")
    parser.add_argument("maps", type=Path, help="folder to write NAME.npy to, for every picture NAME")
    return parser


def write_maps(pictures: Path, maps: Path, network: Network) -> None:
    """Run a network on every picture of a folder and write what it says as float32."""
    try:
        files = open_pictures(pictures, SamplingSettings()).files
        maps.mkdir(parents=True, exist_ok=True)
        for file in files:
            disparity = network(read_picture(file)).astype(np.float32)
            with whole_file(maps / f"{file.stem}.npy") as partial, partial.open("wb") as output:
                np.save(output, disparity)
    except ReconError as error:
        raise SystemExit(str(error)) from error
    print(f"{len(files)} maps in {maps}")
