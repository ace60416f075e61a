"""The rules of a comparison: as the released scripts of Video Depth Anything compute, or without their defects.

Both share the published protocol (arXiv 2501.12375, supplement 5): valid is what lies beyond 1 mm and before the data
set's greatest depth; one scale and shift for a whole clip, by least squares in inverse depth and float64; the
prediction is cut at 1e-3 before the fit and after it, turned into depth and cut to [1 mm, greatest depth]; every frame
gives a mean, every clip the mean of its frames, every data set the mean of its clips.

The released scripts (github.com/DepthAnything/Video-Depth-Anything, benchmark/, commit 4f5ae23) part from what they
mean to do in the points below. Numbers published with them can only be met with them; to compare methods, correct them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

ProtocolName = Literal["corrected", "vda-released"]


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """Which of the released scripts' defects a comparison repeats."""

    name: ProtocolName
    red_and_blue_swapped: bool
    """The network sees BGR: the scripts that prepare the data read RGB and write it as BGR."""
    paired_by_number: bool
    """Bonn: the n-th picture goes with the n-th depth map, though the two cameras have times and drop frames."""
    sintel_in_metres: bool
    """Sintel: depth is cut to whole metres and then divided by 100.8 as if it were finer."""
    fields_of_view_differ: bool
    """Picture and depth are cropped apart and then laid over each other. ScanNet: both lose 8 rows and 11 columns at
    each side, though pictures have twice as many. KITTI: pictures are cut to even sizes, depth to 374 x 1242."""
    principal_point_uncropped: bool
    """TAE: pictures are cropped, their principal point is not moved along."""
    hidden_points_compared: bool
    """TAE: of points that fall on one pixel any may count, not the nearest; and no overlap counts as no error."""


CORRECTED: Final = EvaluationProtocol(
    "corrected",
    red_and_blue_swapped=False,
    paired_by_number=False,
    sintel_in_metres=False,
    fields_of_view_differ=False,
    principal_point_uncropped=False,
    hidden_points_compared=False,
)
"""What the published text describes."""

VDA_RELEASED: Final = EvaluationProtocol(
    "vda-released",
    red_and_blue_swapped=True,
    paired_by_number=True,
    sintel_in_metres=True,
    fields_of_view_differ=True,
    principal_point_uncropped=True,
    hidden_points_compared=True,
)
"""What the released scripts compute."""

PROTOCOLS: Final[Mapping[ProtocolName, EvaluationProtocol]] = {each.name: each for each in (CORRECTED, VDA_RELEASED)}
