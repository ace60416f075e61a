"""From a picture and its parallax to two eyes.

============  =======================================================================
parallax.py   disparity or metric depth to parallax, once for each shot, comfortably
detail.py     a small map at the size of the picture, with the picture's outlines
window.py     what the sides of the picture cut
warp.py       a picture as another eye sees it (kernels.py: the loops)
plate.py      holes filled by what other frames show there (motion.py, recall.py)
fill.py       holes filled by what is beside them
layouts.py    two eyes in one picture, and apart again
============  =======================================================================
"""

from recon.stages.stereo.detail import sharpened
from recon.stages.stereo.fill import filled
from recon.stages.stereo.layouts import Layout, Packing, grey, packed, rgbd, unpacked
from recon.stages.stereo.parallax import Display, ShotParallax, Wish, display, plan, sample_places
from recon.stages.stereo.plate import paired
from recon.stages.stereo.warp import seen_from
from recon.stages.stereo.window import Cut, cut, eased, floating, ramped

__all__ = [
    "Cut",
    "Display",
    "Layout",
    "Packing",
    "ShotParallax",
    "Wish",
    "cut",
    "display",
    "eased",
    "filled",
    "floating",
    "grey",
    "packed",
    "paired",
    "plan",
    "ramped",
    "rgbd",
    "sample_places",
    "seen_from",
    "sharpened",
    "unpacked",
]
