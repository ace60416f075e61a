"""Hypothesis strategies that several tests share: cameras, rigid transforms, depth maps with holes, line data."""

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from recon.geometry import rigid
from recon.types import Intrinsics

seeds = st.integers(0, 2**32 - 1)


@st.composite
def intrinsics(draw: st.DrawFn, max_size: int = 64) -> Intrinsics:
    """Cameras of 10 to 150 degrees, oblong pixels and off-centre principal points included."""
    width, height = draw(st.integers(2, max_size)), draw(st.integers(2, max_size))
    focal = width / 2 / np.tan(np.radians(draw(st.floats(10, 150))) / 2)
    aspect = draw(st.floats(0.8, 1.25))
    cx, cy = width * draw(st.floats(0.3, 0.7)), height * draw(st.floats(0.3, 0.7))
    return Intrinsics(float(focal), float(focal * aspect), cx, cy, width, height)


@st.composite
def rotations(draw: st.DrawFn) -> np.ndarray:
    """Rotations by any angle: none, 1e-12 (where series are needed), right up to half a turn."""
    axis = np.random.default_rng(draw(seeds)).standard_normal(3)
    special = st.sampled_from([0.0, 1e-12, 1e-7, np.pi - 1e-7, np.pi])
    angle = draw(st.one_of(special, st.floats(0, np.pi)))
    return Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()


@st.composite
def rigid_transforms(draw: st.DrawFn) -> np.ndarray:
    """4x4 transforms, the identity and its neighbourhood included."""
    reach = draw(st.sampled_from([0.0, 1e-9, 1.0, 1e4]))
    return rigid(draw(rotations()), reach * np.random.default_rng(draw(seeds)).uniform(-1, 1, 3))


@st.composite
def depth_maps(draw: st.DrawFn, width: int, height: int) -> np.ndarray:
    """float32 (height, width), 0.1 to 100 along +z, log-uniform, some, most or all of it NaN."""
    random = np.random.default_rng(draw(seeds))
    depth = np.exp(random.uniform(np.log(0.1), np.log(100), (height, width))).astype(np.float32)
    share = draw(st.sampled_from([0.0, 0.1, 0.9, 1.0]))
    return np.where(random.random((height, width)) < share, np.float32(np.nan), depth)


@st.composite
def lines(draw: st.DrawFn) -> tuple[float, float]:
    """Scale in 1e-3 .. 1e3 and a shift of the size of the scale."""
    scale = 10 ** draw(st.floats(-3, 3))
    return scale, scale * draw(st.floats(-3, 3))
