"""recon: from an ordinary video to consistent, metric 3D.

The nouns live in ``recon.types`` (with the conventions), the compositions in ``recon.pipelines``.
"""

import logging

from recon.errors import ReconError as ReconError
from recon.types import CameraTrajectory as CameraTrajectory
from recon.types import DepthFrame as DepthFrame
from recon.types import DisparityFrame as DisparityFrame
from recon.types import Frame as Frame
from recon.types import Intrinsics as Intrinsics
from recon.types import PointCloud as PointCloud
from recon.types import PosedFrame as PosedFrame
from recon.types import SparsePoints as SparsePoints

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())
