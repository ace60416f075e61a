"""Bundle adjustment with depth as a prior: cameras and landmarks from what several pictures see of them.

Pictures say directions, sharply; the depth of a network says lengths, roughly: each of its maps is wrong by a factor of
its own, and each value in it once more. So a landmark is where the pictures say, the unit of length is what the depth
maps say together, and depth alone decides only where the camera has hardly moved.

Least squares over camera poses, a factor for each depth map, and landmarks (Triggs et al. 2000, sections 2 and 6). The
cost is the sum of

* for each observation g(x^2 + y^2 + g(d^2)), where x and y are the reprojection error in standard deviations of a
  pixel, d is log(depth seen from the camera / (factor * depth of the map)) in standard deviations of depth, and g is
  the loss of Geman and McClure, which lets mismatches go: a depth that is far off costs the pixel little, but where the
  pixel is far off, its depth is that of something else, and counts as little;
* log(factor)^2 in standard deviations, and that of the focal length where it is not known for sure: one more unknown,
  which all observations share.

The steps are those of Levenberg and Marquardt, the losses enter as weights (Triggs et al., section 4.3, without the
second-order term, so that no curvature is negative). Far from the answer everything would look like a mismatch: the
loss begins as wide as most of the residuals and halves from step to step (Yang et al. 2020, graduated non-convexity).
Landmarks are eliminated from each step by Schur's complement (Triggs et al., section 6.1), and a sparse system with 7
unknowns for a camera remains. Memory and time grow with the observations, and with the pairs of cameras that see
something in common. The focal length is a border of that system, one row and one column, and is solved for through
the same factors.

Shapes: n observations, k cameras, p landmarks. Lengths are in the unit of the depth maps.
"""

from recon.bundle.adjust import adjusted
from recon.bundle.exactness import centre_sigma, focal_sigma, noise_of
from recon.bundle.given import Bundle, Noise, Observations, residual_pixels

__all__ = [
    "Bundle",
    "Noise",
    "Observations",
    "adjusted",
    "centre_sigma",
    "focal_sigma",
    "noise_of",
    "residual_pixels",
]
