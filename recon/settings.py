"""Every setting once: its default, its limits and its help. YAML files and command lines only override.

The docstring under a field is its help text on the command line. Sections reach ``pipelines``; below that, functions
take plain values.
"""

from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from recon.errors import OptionError
from recon.types import METHODS, Colours, Layout, Method, PairLayout

EDGE: Final = 0.04
"""--edge, where it is not given."""


class Section(BaseModel):
    """Frozen; unknown keys are refused; docstrings under fields are their descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SamplingSettings(Section):
    """Which part of the source is used. All of it goes by time, never by the number of a frame in the file."""

    start: float = Field(default=0.0, ge=0)
    """Seconds from the start of the source at which to begin."""
    end: float | None = Field(default=None, gt=0)
    """Seconds from the start of the source at which to stop (that moment is left out)."""
    every: float | None = Field(default=None, gt=0)
    """Take one frame every so many seconds."""
    fps: float | None = Field(default=None, gt=0)
    """Take at most so many frames for each second."""
    picture_rate: float = Field(default=30.0, gt=0)
    """Pictures for each second, where the input is a folder or glob of pictures."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.every is not None and self.fps is not None:
            raise ValueError("--every and --fps say the same thing: give one of them")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"--end ({self.end:g} s) must come after --start ({self.start:g} s)")
        return self

    @property
    def period(self) -> float:
        """Least seconds between two frames; 0 takes every frame."""
        return self.every or (1 / self.fps if self.fps else 0.0)


class NetworkSettings(Section):
    """The network for depth."""

    model: str = "auto"
    """Network: a name that `recon models` lists, `transformers:REPOSITORY`, or auto (the best that is found)."""
    weights: Path | None = None
    """File of weights for the network, instead of looking for it."""
    input_size: int = Field(default=518, ge=14)
    """Shorter side of the network's input, in pixels; smaller is faster and blurrier."""
    device: str = "auto"
    """auto, cpu, mps, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Arithmetic of the network; auto takes half precision only where it is right."""
    compat: Literal["none", "vda"] = "none"
    """vda repeats the windows and the arithmetic of the published Video Depth Anything code exactly, shots and all."""
    mode: Literal["offline", "streaming"] = "offline"
    """offline looks ahead, in windows of 32 frames; streaming gives each frame's depth before it sees the next one."""
    download: bool = True
    """Whether missing weights may be downloaded."""


class DepthSettings(NetworkSettings):
    """How depth is found: by a network, or in files."""

    depth: Path | None = None
    """Folder of depth maps made elsewhere (PNG, EXR, NPZ or NPY), instead of a network."""
    depth_kind: Literal["depth", "disparity"] = "depth"
    """What those maps hold: metres along the optical axis, or disparity up to scale and shift."""
    depth_scale: float = Field(default=1000.0, gt=0)
    """Units of a 16-bit PNG for one metre (1000: millimetres; 5000: TUM RGB-D; 256: KITTI)."""


class ShotSettings(Section):
    """Where the film cuts."""

    cut_threshold: float = Field(default=0.5, gt=0, le=1)
    """How different two neighbouring frames must be to be a cut, from 0 (always) to 1 (never)."""


class CameraSettings(Section):
    """What is known of the camera."""

    fov: float | None = Field(default=None, gt=0, lt=180)
    """Horizontal field of view, degrees."""
    intrinsics: Path | None = None
    """File with the calibration: JSON or YAML with fx, fy, cx, cy, width, height (and camera_model, k1, ... where the
    lens distorts); a 3x3 matrix as text; YAML of OpenCV, ROS or Kalibr; COLMAP, transforms.json."""
    trajectory: Path | None = None
    """Camera poses: TUM, KITTI, EuRoC, a COLMAP model, transforms.json, Record3D, ARKitScenes, ViPE, or a folder of
    *.pose.txt."""
    trajectory_axes: Literal["auto", "opencv", "opengl", "ned", "unity"] = "auto"
    """Axes of the camera in --trajectory, where the format leaves them open: opencv (y down, z forward), opengl (y up,
    looking along -z), ned (x forward, z down: TartanAir), unity (y up, left-handed: ICL-NUIM)."""
    trajectory_rate: float | None = Field(default=None, gt=0)
    """Poses (or maps of --metric-depth) for each second, for formats without times: KITTI; COLMAP, transforms.json and
    maps of a video's frames."""
    slam_units: Literal["auto", "metres", "arbitrary"] = "auto"
    """Units of --trajectory and --sparse; auto: TUM, KITTI and pose files are metres, SfM models are arbitrary."""
    poses: Literal["auto", "track", "colmap", "still"] = "auto"
    """Where camera poses come from, where no --trajectory is given: track (from the pictures and their depth), colmap
    (structure from motion: slower, needs pycolmap) or still (the camera does not move); auto tracks."""
    static: bool = False
    """The camera does not move: --poses still."""

    @property
    def still(self) -> bool:
        """Whether the camera is said not to move."""
        return self.static or self.poses == "still"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fov is not None and self.intrinsics is not None:
            raise ValueError("--fov and --intrinsics say the same thing: give one of them")
        told = "--static" if self.static else f"--poses {self.poses}"
        if self.trajectory is not None and told != "--poses auto":
            raise ValueError(f"{told} and --trajectory contradict each other: give one of them")
        if self.static and self.poses not in {"auto", "still"}:
            raise ValueError(f"--static and --poses {self.poses} contradict each other: give one of them")
        return self


class AnchorSettings(Section):
    """What makes depth metric."""

    anchor: Literal["auto", "first", "frames", "sparse", "none"] = "auto"
    """first: metric depth of the first frame of each shot, applied to all of it; frames: metric depth at the start of
    each shot and every --anchor-every seconds; sparse: the points of --sparse; none: relative units; auto: the best of
    these for which something is given or installed."""
    anchor_every: float = Field(default=5.0, gt=0)
    """Seconds between two frames of which MoGe is asked for metric depth; the first and the last of a shot are too."""
    first_frame_depth: Path | None = None
    """Metric depth of the first frame: PNG (see --depth-scale), EXR, NPZ or NPY."""
    metric_depth: Path | None = None
    """Metric depth of some frames (a phone's lidar; unknown pixels are no harm): a folder or stack, with the pictures'
    names, with times, or numbered as the video's frames (see --trajectory-rate)."""
    sparse: Path | None = None
    """SLAM or SfM map: a COLMAP model with its points and observations; or points (PLY, CSV, TXT, XYZ), seen from
    --trajectory."""
    fit: Literal["robust", "least-squares"] = "robust"
    """robust follows drift and leaves outliers out; least-squares is the published method: one line through all."""
    scale_from: Literal["none", "moge", "first-frame-depth", "known-distance"] = "none"
    """What makes a map of arbitrary units metric: MoGe, --first-frame-depth, or --known-distance."""
    known_distance: tuple[str, str, float] | None = None
    """Two points of the map (a COLMAP point's number, or x,y,z in its units) and the metres between them."""
    moge_weights: Path | None = None
    """MoGe weights, instead of looking for them."""
    fov_frames: int = Field(default=8, ge=1)
    """Frames over which the field of view is measured; their median counts."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.anchor == "sparse" and self.sparse is None:
            raise ValueError("--anchor sparse needs --sparse")
        if self.anchor == "frames" and self.metric_depth is None and self.first_frame_depth is not None:
            raise ValueError(
                "--anchor frames: --first-frame-depth is of one frame; give --metric-depth, or --anchor first"
            )
        if (self.scale_from == "known-distance") != (self.known_distance is not None):
            raise ValueError("--scale-from known-distance and --known-distance go together")
        if self.scale_from == "first-frame-depth" and self.first_frame_depth is None:
            raise ValueError("--scale-from first-frame-depth needs --first-frame-depth")
        if self.scale_from != "none" and self.sparse is None:
            raise ValueError("--scale-from is for the units of --sparse: give it")
        if self.first_frame_depth is not None and self.sparse is not None and self.scale_from != "first-frame-depth":
            raise ValueError(
                "--first-frame-depth and --sparse: say --scale-from first-frame-depth to give the map's units in metres"
            )
        return self


class CleanSettings(Section):
    """Which pixels are trusted."""

    min_depth: float = Field(default=0.0, ge=0)
    """Nearest depth that is kept, metres (or the run's units)."""
    max_depth: float | None = Field(default=None, gt=0)
    """Farthest depth that is kept, metres (or the run's units); automatic where not given."""
    edge: float | None = Field(default=None, gt=0)
    """Relative jump of depth between neighbouring pixels that counts as an edge: both sides are left out. Where not
    given it is 0.04; only a mesh of several frames keeps both sides, as the space before surfaces is carved free."""
    mask: Path | None = None
    """Masks, one for each frame (a folder or a video): black is left out, of the poses too (what moves, say). They go
    by the pictures' names, by time, or by order."""
    mask_invert: bool = False
    """White is left out by --mask, and black is kept."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_depth is not None and self.max_depth <= self.min_depth:
            raise ValueError(f"--max-depth ({self.max_depth:g}) must be beyond --min-depth ({self.min_depth:g})")
        if self.mask_invert and self.mask is None:
            raise ValueError("--mask-invert is for --mask: give it")
        return self


class FuseSettings(Section):
    """How pictures become one cloud."""

    voxel: float | None = Field(default=None, gt=0)
    """Edge of a voxel, metres (or the run's units); automatic (from the depth range) where not given."""


class SurfaceSettings(Section):
    """How pictures become one surface."""

    faces: int = Field(default=150_000, ge=0)
    """Triangles of the mesh, at most; 0 keeps all that fusion finds."""
    lods: tuple[int, ...] = ()
    """Coarser meshes as well, with so many triangles each: NAME.lod1.glb, NAME.lod2.glb and so on."""
    fill: int = Field(default=0, ge=0)
    """Fill holes whose border has at most so many edges."""
    poisson: bool = False
    """A closed surface through the fused cloud (Poisson, by Open3D), which bridges what was not seen."""
    least_part: float = Field(default=0.002, ge=0, lt=1)
    """Pieces of surface with less than this part of all triangles are left out."""
    memory: float = Field(default=4.0, gt=0)
    """Gigabytes that the volume may take; an automatic voxel is made to fit."""
    up_from: Literal["auto", "floor", "cameras", "first-camera", "+x", "-x", "+y", "-y", "+z", "-z"] = "auto"
    """What says which way is up: gravity where it is known, else the floor where it is seen, else the cameras as people
    hold them (auto); the picture of the first camera; or an axis of the given poses (+y for ARKit, +z for nerfstudio).
    """
    gravity: tuple[float, float, float] | None = None
    """Where things fall, by an accelerometer: a direction x y z in the world of the given poses. EuRoC's know it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(count < 1 for count in self.lods):
            raise ValueError("--lods are numbers of triangles, each at least 1")
        levels = (self.faces, *self.lods) if self.faces else self.lods
        if any(fewer >= more for more, fewer in pairwise(levels)):
            raise ValueError(
                "--lods go from fine to coarse: each has fewer triangles than the one before, and than --faces"
            )
        if self.gravity is not None and not any(self.gravity):
            raise ValueError("--gravity is a direction, not 0 0 0")
        if self.gravity is not None and self.up_from != "auto":
            raise ValueError("--gravity and --up-from both say which way is up: give one")
        return self


class TextureSettings(Section):
    """How the surface is coloured."""

    texture: int | None = Field(default=None, ge=0, le=8192)
    """Side of the texture, pixels (256 to 8192); as sharp as the pictures, up to 4096, where not given; 0 colours
    vertices alone."""
    views: int = Field(default=100, ge=1)
    """Pictures that the texture is made of, at most: the sharpest, spread over the video."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.texture is not None and 0 < self.texture < 256:
            raise ValueError("--texture is 0, or at least 256 pixels")
        return self


class SceneSettings(Section):
    """How meshes stand in files."""

    preset: Literal["none", "blender", "unity", "web", "meshlab"] = "none"
    """Axes that a program wants: blender (PLY and STL with +z up, as it takes them raw), unity, web, meshlab (+y)."""
    up: Literal["auto", "y", "z", "camera"] = "auto"
    """Axis of the file that points up; auto: +y for GLB, OBJ and USDZ, as they are defined, +z for PLY and STL."""
    material: Literal["unlit", "lit"] = "unlit"
    """Of GLB: unlit (photographs hold their light already) or lit."""
    camera_path: bool = True
    """Also put the cameras and their path into GLB."""


class StereoSettings(Section):
    """How deep a film looks with two eyes."""

    strength: float | None = Field(default=None, gt=0, le=20)
    """Parallax from the far end of a shot to its near end, in % of the picture's width; 2.5 where neither it nor --ipd
    is given. It is lowered where --front, --behind or a flat shot ask for it, and never raised."""
    front: float = Field(default=1.0, ge=0, le=20)
    """The most in front of the screen, in % of the width."""
    behind: float = Field(default=3.0, ge=0, le=20)
    """The most behind the screen, in % of the width."""
    convergence: float | None = Field(default=None, ge=0, le=1)
    """What is on the screen, from 0 (far end of a shot) to 1 (near end); found for each shot where not given."""
    ipd: float | None = Field(default=None, gt=0, le=1000)
    """Distance of the eyes in mm (63 for adults), instead of --strength: depth as two eyes see it on --display."""
    display: Literal["none", "vr", "tv", "cinema", "phone"] = "none"
    """Where it is watched: depth keeps within what is comfortable there."""
    eyes: Literal["both", "left", "right"] = "both"
    """Which eyes are made: both, around the camera, or one of them, and the other is the film as it is."""
    holes: Literal["film", "picture"] = "film"
    """What is put where something hidden appears: what other frames of the shot show there, or what is beside it."""
    warp: Literal["cpu", "cuda"] = "cpu"
    """What moves the pixels: the processor, or an NVIDIA card. The results are the same."""
    window: Literal["ramp", "floating", "off"] = "ramp"
    """What is done where something in front of the screen is cut by the picture's side: its depth falls to the screen
    there (ramp), or black bars bring that side forward (floating)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.strength is not None and self.ipd is not None:
            raise ValueError("--strength and --ipd both say how deep it is: give one of them")
        if self.ipd is not None and self.display == "none":
            raise ValueError("--ipd needs --display: how far apart things are on it depends on its size")
        return self


class LayoutSettings(Section):
    """How the eyes are put together, and what the file is called."""

    layout: Layout = "full-sbs"
    """Side by side, one over the other, woven, as HDMI packs frames (1920 x 2205 or 1280 x 1470), a half sphere, in
    colours (anaglyph), picture and depth (rgbd), depth alone, two files, or (wiggle) a GIF that goes to and fro."""
    colours: Colours = "red-cyan"
    """Filters of the glasses, for anaglyph."""
    method: Method | None = None
    """How colours become those of an anaglyph; dubois where not given, gray for red-green and red-blue."""
    from_layout: Literal["auto", "2d", PairLayout] = "auto"
    """How the eyes lie in a film that is 3D already: it is put together anew, without depth. Films that say or look so
    are refused (auto) until this is told; 2d takes them as they are."""
    name_style: Literal["auto", "iw3", "kodi", "deovr", "plain"] = "auto"
    """What a file is called where --output is not given, so that players know its layout."""
    per_eye_max: int | None = Field(default=None, ge=64)
    """Longest side of an eye, pixels; larger films are made smaller."""

    @model_validator(mode="after")
    def _needs_depth(self) -> Self:
        if self.layout in {"rgbd", "depth"} and self.from_layout not in {"auto", "2d"}:
            raise ValueError(f"--layout {self.layout} shows depth, and --from-layout {self.from_layout} looks for none")
        return self

    @model_validator(mode="after")
    def _known_method(self) -> Self:
        known = METHODS[self.colours]
        if self.method is not None and self.method not in known:
            raise ValueError(f"--method {self.method} is not known for {self.colours}: choose {' or '.join(known)}")
        return self


class EncodingSettings(Section):
    """How the film is coded."""

    encoder: str = "auto"
    """libx264, libx265, libsvtav1, or one of the hardware's (h264_nvenc, hevc_nvenc, hevc_qsv, hevc_videotoolbox ...);
    auto: H.264 for 8 bits, HEVC for more or for large pictures."""
    quality: float | None = Field(default=None, ge=0, le=63)
    """CRF, or what stands for it: smaller is better and larger; the encoder's usual one where not given."""
    preset: str | None = None
    """Of the encoder: veryfast, medium, slow ... (p1 to p7 for nvenc, 0 to 13 for libsvtav1)."""
    chroma: Literal["420", "444"] = "420"
    """Colours of half the height and width, as all players want them, or of the full size: sharper for anaglyphs and
    woven layouts, and 2205 rows for HDMI, where the player can (those of computers)."""


class StoreSettings(Section):
    """Where depth is kept, so that a killed run goes on and later commands need no network."""

    store: Path | None = None
    """Folder of the depth store; OUTPUT.recon, or a matching store beside it, where not given."""
    fresh: bool = False
    """Discard a store that is there and begin anew."""


class DepthMapSettings(Section):
    """What `recon depth` writes."""

    format: Literal["npz", "png", "exr", "ffv1"] = "npz"
    """npz (float32), png (16 bit), exr (float32) or ffv1 (one lossless 16-bit video)."""
    resolution: Literal["video", "network"] = "video"
    """Size of the maps: the pictures' own, or the network's (smaller files, no interpolation)."""
    preview: bool = True
    """Also write a colour preview, DEPTH.preview.mp4."""


class PoseFileSettings(Section):
    """What `recon poses` writes."""

    format: Literal["auto", "tum", "kitti", "transforms", "colmap", "colmap-text"] = "auto"
    """tum (seconds, position, quaternion), kitti (3x4 matrices, and their times beside them), transforms (nerfstudio's
    and instant-ngp's transforms.json), colmap or colmap-text (a folder with sparse/0: cameras, pictures, points and
    tracks); auto goes by the ending of the output."""
    pictures: bool = False
    """Also write the pictures that transforms and colmap name, into images/ (NAME-images/ for NAME.json): splats and
    NeRFs can begin at once."""


class ConvertSettings(Section):
    """How a file is read, and as what it is written."""

    format: Literal[
        "auto",
        "glb",
        "obj",
        "ply",
        "stl",
        "usdz",
        "pcx",
        "splat",
        "las",
        "e57",
        "tum",
        "kitti",
        "transforms",
        "colmap",
        "colmap-text",
    ] = "auto"
    """Format of the output where its ending does not say it all: pcx (a PLY for Unity's Pcx: mirrored), splat (a PLY
    from which 3D Gaussian Splatting begins), kitti (.txt is TUM), colmap-text; auto goes by the ending."""
    from_up: Literal["auto", "y", "z", "camera"] = "auto"
    """Axis of the input that points up, where the file does not say it (plain PLY, STL, poses) or says it wrongly;
    camera: y points down, as in the world of a first camera."""
    picture: Literal["jpeg", "png"] = "jpeg"
    """Coding of textures: jpeg, or png, which is exact and about five times as large."""
    intrinsics: Path | None = None
    """The camera of a trajectory, for transforms.json and COLMAP, where the input does not say it: JSON or YAML with
    fx, fy, cx, cy, width, height; YAML of OpenCV, ROS or Kalibr; COLMAP, transforms.json."""
    trajectory_axes: Literal["auto", "opencv", "opengl", "ned", "unity"] = "auto"
    """Axes of the camera in a trajectory, where its format leaves them open: opencv (y down, z forward), opengl (y up,
    looking along -z), ned (x forward, z down: TartanAir), unity (y up, left-handed: ICL-NUIM)."""
    trajectory_rate: float | None = Field(default=None, gt=0)
    """Poses for each second, for trajectories without times: KITTI, COLMAP, transforms.json."""


class EvaluationSettings(Section):
    """What is compared, and by which rules."""

    protocol: Literal["corrected", "vda-released"] = "corrected"
    """corrected follows the published text; vda-released repeats the released scripts with their defects."""
    clip: tuple[str, ...] = ()
    """Names of clips to take, instead of all."""
    frames: int | None = Field(default=None, gt=0)
    """Take at most so many frames of each clip."""
    predictions: Path | None = None
    """Depth made elsewhere: a folder with a folder (or NPZ, NPY) for each clip, or with the maps of the only clip."""
    prediction_kind: Literal["depth", "disparity"] | None = None
    """What those maps hold, whatever their arrays are called: metres along the optical axis, or disparity up to scale
    and shift; disparity where not given."""
    prediction_scale: float = Field(default=1000.0, gt=0)
    """Units of a 16-bit PNG among the predictions for one metre."""
    method: str | None = None
    """Name of the row in tables; the network's own, or the folder's, where not given."""
    cloud_threshold: float = Field(default=0.05, gt=0)
    """Distance at which a fused point is right, metres; where the data set has poses."""
    truth_scale: float = Field(default=1000.0, gt=0)
    """folder: units of a 16-bit PNG of true depth for one metre (256: KITTI)."""
    truth_max_depth: float = Field(default=80.0, gt=0)
    """folder: metres beyond which true depth does not count."""


class EvaluationRunSettings(Section):
    """All settings of `recon eval`."""

    evaluation: EvaluationSettings = EvaluationSettings()
    depth: NetworkSettings = NetworkSettings()


class DepthRunSettings(Section):
    """All settings of `recon depth`."""

    sampling: SamplingSettings = SamplingSettings()
    depth: DepthSettings = DepthSettings()
    shots: ShotSettings = ShotSettings()
    camera: CameraSettings = CameraSettings()
    anchor: AnchorSettings = AnchorSettings()
    maps: DepthMapSettings = DepthMapSettings()
    store: StoreSettings = StoreSettings()


class PointcloudSettings(Section):
    """All settings of `recon pointcloud`."""

    sampling: SamplingSettings = SamplingSettings()
    depth: DepthSettings = DepthSettings()
    shots: ShotSettings = ShotSettings()
    camera: CameraSettings = CameraSettings()
    anchor: AnchorSettings = AnchorSettings()
    clean: CleanSettings = CleanSettings()
    fuse: FuseSettings = FuseSettings()
    store: StoreSettings = StoreSettings()


class PosesSettings(Section):
    """All settings of `recon poses`."""

    sampling: SamplingSettings = SamplingSettings()
    depth: DepthSettings = DepthSettings()
    shots: ShotSettings = ShotSettings()
    camera: CameraSettings = CameraSettings()
    anchor: AnchorSettings = AnchorSettings()
    clean: CleanSettings = CleanSettings()
    poses: PoseFileSettings = PoseFileSettings()
    store: StoreSettings = StoreSettings()


class MeshSettings(Section):
    """All settings of `recon mesh`."""

    sampling: SamplingSettings = SamplingSettings()
    depth: DepthSettings = DepthSettings()
    shots: ShotSettings = ShotSettings()
    camera: CameraSettings = CameraSettings()
    anchor: AnchorSettings = AnchorSettings()
    clean: CleanSettings = CleanSettings()
    fuse: FuseSettings = FuseSettings()
    surface: SurfaceSettings = SurfaceSettings()
    texture: TextureSettings = TextureSettings()
    scene: SceneSettings = SceneSettings()
    store: StoreSettings = StoreSettings()


class ConvertRunSettings(Section):
    """All settings of `recon convert`."""

    convert: ConvertSettings = ConvertSettings()
    scene: SceneSettings = SceneSettings()


class StereoRunSettings(Section):
    """All settings of `recon stereo3d`."""

    sampling: SamplingSettings = SamplingSettings()
    depth: DepthSettings = DepthSettings()
    shots: ShotSettings = ShotSettings()
    camera: CameraSettings = CameraSettings()
    anchor: AnchorSettings = AnchorSettings()
    stereo: StereoSettings = StereoSettings()
    layout: LayoutSettings = LayoutSettings()
    encoding: EncodingSettings = EncodingSettings()
    store: StoreSettings = StoreSettings()


RUNS: tuple[type[Section], ...] = (
    PointcloudSettings,
    MeshSettings,
    DepthRunSettings,
    PosesSettings,
    EvaluationRunSettings,
    ConvertRunSettings,
    StereoRunSettings,
)
"""Those of all commands."""


def _reason(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else " ".join(str(error).split())


def read_yaml(path: Path) -> dict[str, object]:
    """The mapping in a YAML file.

    Raises:
        OptionError: the file is missing, is not YAML or is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"{path}: cannot be read as YAML ({_reason(error)})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise OptionError(f"{path}: a settings file holds 'section:' blocks, not a {type(values).__name__}")
    return values
