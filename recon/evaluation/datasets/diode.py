"""DIODE (Vasiljevic et al., arXiv 1908.00463): single pictures, indoors and outdoors, with a laser scanner's depth.

Depth: float32 metres, (768, 1024, 1); a mask beside it says with 1 where it is valid. The scanner reaches 350 m, up to
which Marigold (arXiv 2312.02145) evaluates; it leaves out what is nearer than 0.6 m, here the mask alone decides. The
pictures of a split make one clip, so that each counts alike.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recon.errors import FormatError
from recon.evaluation.datasets.layout import clip_name, files
from recon.evaluation.datasets.sequences import NOMINAL_RATE, numbered, picture_reader, sequences
from recon.evaluation.truth import DataSet, Reading, TruthClip
from recon.types import DepthMap

_LAYOUT: Final = "[val/]{indoors,outdoor}/scene_*/scan_*/{*.png, *_depth.npy, *_depth_mask.npy}"
_MAX_DEPTH: Final = 350.0


def read_masked(path: Path) -> DepthMap:
    """A depth map: metres, NaN where the mask beside it says so.

    Raises:
        FormatError: the map or its mask is missing, damaged or of another shape.
    """
    mask_path = path.with_name(path.name.replace("_depth.npy", "_depth_mask.npy"))
    try:
        depth, mask = np.load(path, allow_pickle=False), np.load(mask_path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: it or its mask {mask_path.name} cannot be read ({error})") from error
    depth = depth[..., 0] if depth.ndim == 3 else depth
    if depth.ndim != 2 or depth.shape != mask.shape:
        raise FormatError(f"{path}: the map has the shape {depth.shape}, its mask {mask.shape}")
    return np.where((mask > 0.5) & (depth > 0), depth, np.nan).astype(np.float32)


def _clips(kinds: Sequence[str], root: Path, reading: Reading) -> Sequence[TruthClip]:
    kind = "*door*" if len(kinds) > 1 else kinds[0]
    return [_clip(folder, kinds, reading) for folder in sequences(root, kind, levels=1, expected=_LAYOUT)]


def _clip(folder: Path, kinds: Sequence[str], reading: Reading) -> TruthClip:
    present = [kind for kind in kinds if (folder / kind).is_dir()]
    depths = [path for kind in present for path in files(folder / kind, "*/*/*_depth.npy", expected=_LAYOUT)]
    pictures = [path.with_name(path.name.replace("_depth.npy", ".png")) for path in depths]
    return TruthClip(
        name=clip_name(folder.resolve().name, *present),
        frames=numbered(pictures, depths, NOMINAL_RATE),
        read_picture=picture_reader(reading),
        read_depth=read_masked,
        cameras={},
        max_depth=_MAX_DEPTH,
        one_gauge=False,
    )


_ABOUT: Final = "single pictures with depth by a laser scanner, each with a scale and shift of its own; up to 350 m."
DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet("diode", f"DIODE (arXiv 1908.00463): {_ABOUT}", _LAYOUT, partial(_clips, ("indoors", "outdoor"))),
    DataSet("diode-indoors", f"DIODE, rooms alone: {_ABOUT}", _LAYOUT, partial(_clips, ("indoors",))),
    DataSet("diode-outdoor", f"DIODE, outdoors alone: {_ABOUT}", _LAYOUT, partial(_clips, ("outdoor",))),
)
