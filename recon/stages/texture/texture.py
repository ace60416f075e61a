"""From a mesh and frames to a mesh with a picture on it."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Float32, UInt8

from recon.errors import ReconError
from recon.geometry import triangle_areas
from recon.light import srgb_from_linear
from recon.stages.texture.bake import mixed, texels_of, with_normals
from recon.stages.texture.light import spread
from recon.stages.texture.unwrap import unwrapped
from recon.stages.texture.views import chosen, sharpness_of
from recon.types import Mesh, Picture, PosedFrame, TexturedMesh

Frames = Callable[[], Iterator[PosedFrame]]

SMALLEST, LARGEST = 512, 4096
"""Sides of textures that are made where no size is asked for."""
FILLED = 0.5
"""Part of a texture that is charts."""
NEARER = 25
"""Percentile of the depth of a frame: what is near is seen most sharply."""


def textured(mesh: Mesh, frames: Frames, size: int | None = None, *, most_views: int = 100) -> TexturedMesh:
    """The mesh with a picture on it, mixed of the frames that see each place best.

    A frame sees a texel where neither the mesh nor the frame's own depth is in front of it. How well: cosine of the
    angle between normal and ray x pixels per texel (no more than one counts) x sharpness of the picture x distance
    from the picture's border and from edges of depth. Of each texel, the light of the three best views is averaged,
    with weights that fall to zero where a fourth becomes as good, so that there are no steps between views; more of
    them would only blur, as no pose and no surface is right to the pixel. A gain for each frame and channel brings its
    exposure to that of the mesh's own colours. What no frame sees has the colours of the vertices.

    At most ``most_views`` frames are used, the sharpest of as many stretches of time: neighbours in a video show the
    same from the same place, so that ten times as many would take ten times as long, and the blurred ones among them
    are left out.

    Args:
        mesh: as it was fused: its colours are the mean of what all frames saw.
        frames: goes through the frames of one segment, anew at each call, in the same order. It is called three
            times, and one frame is held at a time: about 80 bytes for each texel are all the memory that is needed.
        size: texels of a side of the picture, which is square; as the frames have it (`suitable_size`) where not given.
        most_views: frames to use.

    Raises:
        MissingPackageError: xatlas is not installed.
        ReconError: there are no frames, the mesh is empty, or no frame sees it.
        ValueError: the frames belong to several segments, which share no world.
    """
    if (size is not None and size < 1) or most_views < 1:
        raise ValueError(f"a texture has texels and views, got {size} and {most_views}")
    used, pixel = _chosen(frames, most_views)
    mesh = with_normals(mesh)
    size = size or suitable_size(mesh, pixel)
    cut, uv = unwrapped(mesh, size)
    texels = texels_of(cut, uv, size)
    light, known = np.zeros((size * size, 3), np.float32), np.zeros(size * size, bool)
    light[texels.numbers], known[texels.numbers] = mixed(texels, mesh, lambda: _taken(frames(), used))
    texture = srgb_from_linear(spread(light.reshape(size, size, 3), known.reshape(size, size)))
    return TexturedMesh(Mesh(cut.vertices, cut.triangles, _colors(texture, uv), cut.normals), uv, texture)


def suitable_size(mesh: Mesh, pixel: float) -> int:
    """A side at which a texel is about as large as a pixel: a power of two, from 512 to 4096.

    Half of a picture is charts, at most, and the rest lies between them. Larger textures can be asked for, but hold no
    more than the frames do.
    """
    side = np.sqrt(triangle_areas(mesh.vertices, mesh.triangles).sum() / FILLED) / pixel
    return int(2 ** np.rint(np.log2(np.clip(side, SMALLEST, LARGEST))))


def _chosen(frames: Frames, most: int) -> tuple[Mapping[int, float], float]:
    """Frames to use, and the side of a pixel on the nearer things that they show, in the unit of depth."""
    times, sharpness, pixels, segments = [], [], [], set[int]()
    for frame in frames():
        times.append(frame.frame.time)
        known = frame.depth[np.isfinite(frame.depth)]
        pixels += [np.percentile(known, NEARER) / frame.intrinsics.fx] if known.size else []
        sharpness.append(sharpness_of(frame.frame.rgb))
        segments.add(frame.segment)
    if not times:
        raise ReconError("there are no frames to make a texture of: does the run have any with depth and pose?")
    if len(segments) > 1:
        raise ValueError(f"segments {sorted(segments)} share no world: texture them apart")
    return chosen(np.array(times), np.array(sharpness), most), float(np.median(pixels)) if pixels else np.inf


def _taken(frames: Iterator[PosedFrame], used: Mapping[int, float]) -> Iterator[tuple[PosedFrame, float]]:
    for row, frame in enumerate(frames):
        if row in used:
            yield frame, used[row]


def _colors(texture: Picture, uv: Float32[np.ndarray, "n 2"]) -> UInt8[np.ndarray, "n 3"]:
    """Of the texels in which the vertices are."""
    size = len(texture)
    column, row = np.minimum((uv * size).astype(np.int64), size - 1).T
    colors: UInt8[np.ndarray, "n 3"] = texture[row, column]
    return colors
