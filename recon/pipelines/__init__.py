"""The compositions: what happens in which order. Every step lives in ``stages``; here they are only joined.

Depth is the expensive thing: ``predict`` writes it into a store once, and everything after it reads the store lazily,
as often as it likes. A stage pulls from the one before it, so that memory does not grow with the length of the video.
"""

from recon.pipelines.cloud import SegmentCloud as SegmentCloud
from recon.pipelines.cloud import SegmentSummary as SegmentSummary
from recon.pipelines.cloud import point_clouds as point_clouds
from recon.pipelines.depth import DepthMaps as DepthMaps
from recon.pipelines.depth import Observer as Observer
from recon.pipelines.depth import Unobserved as Unobserved
from recon.pipelines.depth import depth_maps as depth_maps
from recon.pipelines.depth import predict as predict
from recon.pipelines.depth import told_origin as told_origin
from recon.pipelines.maps import DepthRun as DepthRun
from recon.pipelines.maps import depth_run as depth_run
from recon.pipelines.maps import write_maps as write_maps
from recon.pipelines.maps import write_preview as write_preview
from recon.pipelines.poses import Found as Found
from recon.pipelines.run import Reconstruction as Reconstruction
from recon.pipelines.run import pose_run as pose_run
from recon.pipelines.run import reconstruction as reconstruction
