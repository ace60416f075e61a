"""What other frames show behind things near: on exact video, where the truth is known."""

from typing import Final

import numpy as np
import pytest
from stereo_scenes import figures, scene, source

from recon.stages.stereo.fill import filled
from recon.stages.stereo.plate import paired
from recon.stages.stereo.warp import seen_from

SIZE: Final = (320, 180)
PAN: Final = 0.0055
BOTH: Final = (-0.5, 0.5)

Frames = list[tuple[np.ndarray, np.ndarray]]


def one_by_one(frames: Frames, share: float) -> list[np.ndarray]:
    """Eyes that know their own frame alone."""
    return [filled(seen_from(*frame, share)) for frame in frames]


def right_eyes(frames: Frames, shares: tuple[float, float] = BOTH) -> list[np.ndarray]:
    return [right for _, right in paired(iter(frames), shares)]


@pytest.mark.parametrize("pan", [0.0, PAN])
@pytest.mark.parametrize("shares", [BOTH, (0.0, 1.0)])
def test_what_is_hidden_is_found_in_other_frames(pan: float, shares: tuple[float, float]) -> None:
    shown = scene(0, pan=pan)
    frames = list(source(shown, 10, SIZE))
    alone = figures(shown, shares[1], one_by_one(frames, shares[1]))
    with_others = figures(shown, shares[1], right_eyes(frames, shares))
    assert with_others.hidden > 27
    assert with_others.hidden > alone.hidden + 6
    assert with_others.flicker < 0.016
    assert with_others.visible > 47
    assert with_others.clear > 53
