"""The temporal alignment error: planes with known errors, the released arithmetic in plain loops, real depth."""


import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.evaluation.temporal import temporal_error
from recon.evaluation.truth import TruthCamera
from recon.geometry import rigid
from recon.types import Intrinsics

RULES = pytest.mark.parametrize("hidden", [False, True], ids=["corrected", "released"])
LENS = Intrinsics(40.0, 40.0, 16.0, 12.0, 32, 24)
AT_ORIGIN = TruthCamera(LENS, np.eye(4))


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0, lens: Intrinsics = LENS) -> TruthCamera:
    """A camera that looks along z."""
    return TruthCamera(lens, rigid(np.eye(3), np.array([x, y, z])))


def plane(depth: float, lens: Intrinsics = LENS) -> np.ndarray:
    """A wall that faces the camera."""
    return np.full((lens.height, lens.width), depth, np.float32)


# ------------------------------------------------------------------------------------------------------- known errors


@RULES
def test_true_depth_of_a_plane_has_no_error(hidden: bool) -> None:
    error = temporal_error(plane(4.0), plane(3.5), AT_ORIGIN, at(z=0.5), hidden_points_compared=hidden)
    assert error == pytest.approx(0, abs=1e-5)


@RULES
@given(scale=st.floats(0.5, 2), step=st.floats(-0.4, 0.4))
def test_one_frame_at_another_scale(hidden: bool, scale: float, step: float) -> None:
    """A wall 4 m off, the camera goes ``step`` towards it, and the second frame says ``scale`` times too much.

    There: 4 - step is seen, scale (4 - step) is said. Back: scale (4 - step) + step is seen, 4 is said.
    """
    second = scale * (4 - step)
    there, back = abs(second - (4 - step)) / second, abs(second + step - 4) / 4
    error = temporal_error(plane(4.0), plane(second), AT_ORIGIN, at(z=step), hidden_points_compared=hidden)
    assert error == pytest.approx(50 * (there + back), rel=1e-5, abs=1e-4)


@RULES
def test_unknown_depth_is_left_out(hidden: bool) -> None:
    """Half of each frame is unknown and the other half has a known error; what is unknown changes nothing."""
    depth = plane(4.0)
    depth[:, ::2] = np.nan
    error = temporal_error(depth, np.float32(1.25) * depth, AT_ORIGIN, AT_ORIGIN, hidden_points_compared=hidden)
    assert error == pytest.approx(50 * (0.2 + 0.25))
