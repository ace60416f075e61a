"""Camera poses: looked up in a known trajectory, or estimated from the pictures and their depth.

Pictures place a camera far better than predicted depth does: errors of a network are smooth over a picture and differ
from frame to frame, which ruins every tracker that fits depth to depth. So depth only says where landmarks begin and
how long a unit is (``recon.bundle``); the rest is told by corners that are followed from picture to picture.

==============  =======================================================================================================
known.py        poses that are given
flow.py         corners, and where they are in the next picture
features.py     what is found again after a gap
perspective.py  a camera from landmarks and where it sees them
keyframes.py    key frames, landmarks, and what sees what
world.py        one run of frames: cameras that are placed among landmarks
loops.py        places that are seen again
refine.py       the whole of it at once: bundle adjustment, and cameras that do not move
tracking.py     from frames to segments
colmap.py       pycolmap: features, matches, mapping
reconstruct.py  structure from motion instead of tracking, and its unit of length from the depth
==============  =======================================================================================================
"""

from recon.stages.pose.flow import WORKING_AREA
from recon.stages.pose.known import Place, posed
from recon.stages.pose.segment import Motion, Segment
from recon.stages.pose.tracking import estimate

__all__ = ["WORKING_AREA", "Motion", "Place", "Segment", "estimate", "posed"]
