"""From the store to files: `recon depth` without its options."""

from pathlib import Path

import cv2
import numpy as np

from recon.io.depth_writer import MapSpec, depth_writer, png_scale
from recon.io.preview import colorize, robust_range
from recon.io.source import Source
from recon.io.store import ShotSpan, StoredDepth
from recon.io.video import VideoWriter
from recon.pipelines.depth import DepthMaps, Observer
from recon.pipelines.metres import disparity_of, probes
from recon.settings import DepthMapSettings
from recon.types import DepthMap

PLAYED_RATE = 25.0
"""Frames for each second of a preview whose source has no rate."""


def write_maps(source: Source, maps: DepthMaps, folder: Path, settings: DepthMapSettings, observer: Observer) -> None:
    """Write every map into a folder, which appears whole."""
    size = next(maps.estimates()).values.shape
    if settings.resolution == "video":
        size = source.info.height, source.info.width
    lengths = maps.quantity == "depth"
    bounds = value_range(maps)
    spec = MapSpec(
        kind=settings.format,
        quantity=maps.quantity,
        units="metres" if lengths else "relative",
        size=(size[0], size[1]),
        value_range=bounds,
        scale=png_scale(maps.quantity, bounds),
    )
    with depth_writer(folder, spec) as writer:
        for estimate in observer.watch(maps.estimates(), "writing", maps.frame_count):
            writer.write(estimate.index, estimate.time, at_size(estimate.values, size[0], size[1]))


def value_range(maps: DepthMaps) -> tuple[float, float]:
    """The least and the greatest value of all maps; (0, 0) if nothing is known. A store knows them already."""
    if isinstance(maps, StoredDepth):
        return maps.value_range
    low, high = np.inf, -np.inf
    for estimate in maps.estimates():
        low = min(low, float(np.fmin.reduce(estimate.values, axis=None, initial=np.inf)))
        high = max(high, float(np.fmax.reduce(estimate.values, axis=None, initial=-np.inf)))
    return (low, high) if low <= high else (0.0, 0.0)


def write_preview(source: Source, maps: DepthMaps, path: Path, observer: Observer) -> None:
    """Write a video of the maps in colour, at their own size: near is warm, far is cold."""
    whole = ShotSpan(0, 0, maps.frame_count)
    far, near = robust_range(disparity_of(probe.values, maps.quantity) for probe in probes(maps, whole))
    height, width = next(maps.estimates()).values.shape
    with VideoWriter(path, width, height, source.info.rate or PLAYED_RATE) as video:
        for estimate in observer.watch(maps.estimates(), "preview", maps.frame_count):
            disparity = disparity_of(estimate.values, maps.quantity)
            video.write(colorize(disparity, far, near), estimate.time)


def at_size(values: DepthMap, height: int, width: int) -> DepthMap:
    """The map at another size, bilinearly (pixel centres at half integers, as everywhere); NaN spreads by a pixel."""
    if values.shape == (height, width):
        return values
    resized: DepthMap = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized
