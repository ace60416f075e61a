"""Which frames a texture is made of, and what each of them tells."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from recon.geometry import inverse, transform
from recon.stages.texture.kernels import View, kernels
from recon.stages.texture.light import pyramid
from recon.types import DepthMap, Mesh, Picture, PosedFrame

_BORDER = 0.08
"""Part of the picture's smaller side over which trust grows from its border on."""
_EDGE = 0.015
"""The same from edges of depth on."""
_LEAST = 0.02
"""Trust in pixels at edges of depth: colours of two surfaces are mixed there, or swapped where poses are not right."""
_UNKNOWN = 0.1
"""Trust in pixels without depth: what is masked there (somebody who walks by) is not of this mesh."""
_CLIPPED, _WHITE = 0.3, (235, 255)
"""Trust in pixels that are clipped, and the bytes between which they become so."""
_FOLD, _DEPTH_FOLD = 0.03, 0.1
"""Bend of inverse depth in a pixel, in parts of it, that is an edge: of the mesh, of the frame's depth."""


def sharpness_of(rgb: Picture) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., ICPR 2000): tells which of pictures of one thing is sharp."""
    gray = cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var())


def chosen(times: Float64[np.ndarray, " n"], sharpness: Float64[np.ndarray, " n"], most: int) -> dict[int, float]:
    """Rows of the frames to take, and their sharpness in [0, 1] beside that of their neighbours in time.

    The sequence is cut into ``most`` stretches of as many frames each, and the sharpest frame of each is taken.
    """
    order = np.lexsort((sharpness, times))
    stretches = np.array_split(order, min(most, len(order)))
    best = np.array([stretch[sharpness[stretch].argmax()] for stretch in stretches])
    values = sharpness[best]
    around = np.array([values[max(i - 2, 0) : i + 3].max() for i in range(len(best))])
    relative = np.sqrt(values / np.where(around > 0, around, 1))
    return {int(row): float(share) for row, share in zip(best, np.where(around > 0, relative, 1), strict=True)}


def prepared(frame: PosedFrame, mesh: Mesh, sharpness: float) -> View:
    """The frame with the depth of the mesh, and what each pixel is worth."""
    camera = frame.intrinsics
    camera_from_world = inverse(frame.world_from_camera)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
    front = np.full(frame.depth.shape, np.inf, np.float32)
    points = transform(camera_from_world, mesh.vertices.astype(np.float64))
    nearest = 1e-4 * float(np.abs(points).max(initial=0))
    kernels().drawn(points, mesh.triangles, lens, nearest, front)
    depth, centre = np.ascontiguousarray(frame.depth), np.ascontiguousarray(frame.world_from_camera[:3, 3])
    level_gains = np.ones((1, 1, 3), np.float32)
    pixels = pyramid(frame.frame.rgb)
    return View(
        camera_from_world,
        centre,
        lens,
        front,
        depth,
        _trust(front, depth) * _exposed(frame.frame.rgb),
        *pixels,
        level_gains,
        sharpness,
    )


def _trust(front: DepthMap, depth: DepthMap) -> Float32[np.ndarray, "h w"]:
    """Of each pixel, 0 to 1: grows with the distance from the picture's border, edges of depth and unknown depth."""
    height, width = front.shape
    side = min(height, width)
    edges = _folds(front, _FOLD) | _folds(depth, _DEPTH_FOLD)
    inside = _grown(edges, _EDGE * side, _LEAST) * _grown(np.isnan(depth), _EDGE * side, _UNKNOWN)
    x, y = (np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) for n in (width, height))
    trust: Float32[np.ndarray, "h w"] = inside * _smooth(np.minimum(x[None, :], y[:, None]) / (_BORDER * side))
    return trust


def _grown(bad: Bool[np.ndarray, "h w"], reach: float, least: float) -> Float32[np.ndarray, "h w"]:
    """From the least trust, in bad pixels, to 1 within so many pixels."""
    if not bad.any():
        return np.ones(bad.shape, np.float32)
    away = cv2.distanceTransform((~bad).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    grown: Float32[np.ndarray, "h w"] = least + (1 - least) * _smooth(away / max(reach, 2.0))
    return grown


def _exposed(rgb: Picture) -> Float32[np.ndarray, "h w"]:
    """Of each pixel, 0 to 1: how far it and those around it are from being clipped."""
    side = max(3, round(_EDGE * min(rgb.shape[:2])))
    low, high = _WHITE
    clipped = cv2.blur(_smooth((rgb.max(axis=2) - np.float32(low)) / (high - low)), (side, side))
    exposed: Float32[np.ndarray, "h w"] = 1 - (1 - _CLIPPED) * clipped
    return exposed


def _folds(depth: DepthMap, bend: float) -> Bool[np.ndarray, "h w"]:
    """Where inverse depth, which is linear on planes, is not."""
    inverse_depth = 1 / depth
    with np.errstate(invalid="ignore"):
        folds: Bool[np.ndarray, "h w"] = np.abs(cv2.Laplacian(inverse_depth, cv2.CV_32F)) > bend * inverse_depth
    return folds


def _smooth(share: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """From 0 at 0 to 1 at 1 without corners."""
    share = share.clip(0, 1).astype(np.float32)
    grown: Float32[np.ndarray, "h w"] = share * share * (3 - 2 * share)
    return grown
