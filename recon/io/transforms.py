"""transforms.json of pictures by any lenses that nerfstudio knows, with or without times.

``camera_model`` is OPENCV or OPENCV_FISHEYE, which hold COLMAP's other kinds of theirs; several cameras stand with
their pictures. Source: nerfstudio's documentation of its data format.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.calibration import NAMED
from recon.io.lens import Lens
from recon.io.pose_files import TRANSFORMS_TIME, in_opencv

_FISHEYES: Final = {
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    **{kind: names for kind, names in NAMED.items() if kind.endswith("FISHEYE")},
}
_PERSPECTIVE: Final = {kind: names for kind, names in NAMED.items() if kind not in _FISHEYES}
_ALWAYS: Final = {"OPENCV": ("k1", "k2", "p1", "p2"), "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4")}


@dataclass(frozen=True, slots=True)
class Shots:
    """Pictures with their poses and cameras."""

    names: tuple[str, ...]
    """Of the pictures."""
    world_from_camera: Float64[np.ndarray, "n 4 4"]
    lenses: tuple[Lens, ...]
    """One for all, or one for each."""
    times: Float64[np.ndarray, " n"] | None = None
    """Seconds, where they are known."""

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(set(self.names)) != count or len(self.world_from_camera) != count:
            raise ValueError(f"{len(self.world_from_camera)} poses for {count} names; each needs one of its own")
        if len(self.lenses) not in {1, count}:
            raise ValueError(f"{len(self.lenses)} lenses for {count} pictures")


def write_frames(path: Path, shots: Shots, *, points: str | None = None) -> None:
    """Write them; the file appears whole or not at all. The camera gets OpenGL's axes, the world stays as it is.

    Args:
        path: the file.
        shots: names are relative to the folder of the file.
        points: name of a cloud (PLY) in the same world, relative too.

    Raises:
        FormatError: a lens that transforms.json cannot describe, or fisheyes among others.
    """
    models = {model_of(lens, path)[0] for lens in shots.lenses}
    if len(models) > 1:
        raise FormatError(f"{path}: transforms.json holds pictures of one kind of lens; these are {sorted(models)}")
    cameras = [camera_of(lens, path) for lens in dict.fromkeys(shots.lenses)]
    is_one = len(cameras) == 1
    own = [{} if is_one else camera_of(lens, path) for lens in shots.lenses]
    own = own * len(shots.names) if len(own) == 1 else own
    matrices = in_opencv(shots.world_from_camera, "opengl") + 0.0  # half a turn is its own inverse; no -0.0
    times = [{}] * len(own) if shots.times is None else [{TRANSFORMS_TIME: time} for time in shots.times.tolist()]
    frames = [
        {"file_path": name, **time, **camera, "transform_matrix": matrix}
        for name, time, camera, matrix in zip(shots.names, times, own, matrices.tolist(), strict=True)
    ]
    head: dict[str, object] = {"camera_model": models.pop(), **(cameras[0] if is_one else {})}
    head |= {} if points is None else {"ply_file_path": points}
    with whole_file(path) as partial:
        partial.write_text(json.dumps(head | {"frames": frames}, indent=1) + "\n", encoding="utf-8")


def camera_of(lens: Lens, path: Path) -> dict[str, float]:
    """Focal lengths, principal point (from the corner in both), size and coefficients by nerfstudio's names."""
    camera, (model, said) = lens.intrinsics, model_of(lens, path)
    numbers = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy, "w": camera.width}
    return {**numbers, "h": camera.height, **dict.fromkeys(_ALWAYS[model], 0.0), **said}


def model_of(lens: Lens, path: Path) -> tuple[str, Mapping[str, float]]:
    """``camera_model``, and those coefficients by name that are not 0.

    Raises:
        FormatError: nerfstudio has no such lens.
    """
    kinds: Sequence[tuple[str, Mapping[str, tuple[str, ...]]]]
    kinds = (("OPENCV", _PERSPECTIVE), ("OPENCV_FISHEYE", _FISHEYES))
    for model, known in kinds:
        if lens.kind in known:
            named = zip(known[lens.kind], lens.coefficients, strict=True)
            return model, {name: value for name, value in named if value}
    raise FormatError(f"{path}: transforms.json has no lens of the kind {lens.kind}: a COLMAP model has")
