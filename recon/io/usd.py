# ruff: noqa: ANN401 - USD has no types
"""USDZ for Apple's Quick Look, Blender and Omniverse (OpenUSD 26; USDZ specification 1.3), by usd-core.

Metres, y up (z, where the scene is so); colours of vertices as linear light (``displayColor``); a UsdPreviewSurface
for the texture, whose coordinates begin below left. Times are in 24 codes a second, the rate that Blender assumes.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from recon.errors import FormatError
from recon.files import filling, whole_file
from recon.io.asset import (
    OPENGL_FROM_OPENCV,
    CameraPath,
    Look,
    Scene,
    Shape,
    all_known,
    checked_mesh,
    cloud_of,
    decoded,
    encoded,
    fans,
    flipped,
    grey,
    joined,
    mesh_of,
    notes_from,
    package,
    textured,
    up_from,
)
from recon.io.cloud import Up
from recon.io.splat import spacing
from recon.light import linear_from_srgb, srgb_from_linear
from recon.types import Intrinsics, Picture, PointCloud, TexturedMesh

RATE: Final = 24.0
"""Time codes in a second."""
_APERTURE = 20.955
"""Width of the film in tenths of a unit (the default of USD); only its ratio to the focal length matters."""
_ROOT = "/recon"
_SIZE = ("width", "height")
"""Of the pictures, pixels: notes at the camera, as USD knows lengths of the film alone."""


def write_usdz(path: Path, scene: Scene, look: Look) -> None:
    """Write a mesh or a cloud with its colours or texture, the camera's path, and notes as custom layer data.

    Raises:
        MissingPackageError: usd-core is not installed.
    """
    pxr = _pxr(path)
    with filling(path.with_name(f"{path.name}.parts")) as folder:
        layer, packed = folder / "recon.usdc", folder / "packed.usdz"
        _write_layer(pxr, layer, scene, look)
        if not pxr.UsdUtils.CreateNewUsdzPackage(pxr.Sdf.AssetPath(str(layer)), str(packed)):
            raise FormatError(f"{path}: USD could not pack it")
        with whole_file(path) as partial:
            packed.replace(partial)


def _pxr(path: Path) -> Any:
    """OpenUSD, with the modules that are used here."""
    for name in ("Gf", "Sdf", "Tf", "Usd", "UsdGeom", "UsdShade", "UsdUtils", "Vt", "Ar"):
        package(path, f"pxr.{name}", "export")
    return package(path, "pxr", "export")


def _write_layer(pxr: Any, path: Path, scene: Scene, look: Look) -> None:
    geom = pxr.UsdGeom
    stage = pxr.Usd.Stage.CreateNew(str(path))
    geom.SetStageUpAxis(stage, geom.Tokens.z if scene.up == "z" else geom.Tokens.y)
    geom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(RATE)
    stage.SetFramesPerSecond(RATE)
    stage.SetDefaultPrim(geom.Xform.Define(stage, _ROOT).GetPrim())
    stage.GetRootLayer().customLayerData = scene.extras
    prim = _add_shape(pxr, stage, scene.shape)
    if isinstance(scene.shape, TexturedMesh):
        picture = path.with_name("texture.jpg" if look.picture == "jpeg" else "texture.png")
        picture.write_bytes(encoded(scene.shape.texture, look))
        _add_texture(pxr, stage, prim, scene.shape, f"./{picture.name}")
    else:
        _add_colors(pxr, stage, prim, scene.shape)
    if scene.camera is not None:
        _add_camera(pxr, stage, scene.camera)
    stage.GetRootLayer().Save()


def _vectors(pxr: Any, values: Float[np.ndarray, "n c"]) -> Any:
    kind = pxr.Vt.Vec3fArray if values.shape[1] == 3 else pxr.Vt.Vec2fArray
    return kind.FromNumpy(np.ascontiguousarray(values, np.float32))


def _add_shape(pxr: Any, stage: Any, shape: Shape) -> Any:
    cloud = cloud_of(shape)
    if isinstance(shape, PointCloud):
        prim = pxr.UsdGeom.Points.Define(stage, f"{_ROOT}/points")
        prim.CreateWidthsAttr(pxr.Vt.FloatArray.FromNumpy(spacing(cloud.points)))
    else:
        triangles = mesh_of(shape).triangles
        prim = pxr.UsdGeom.Mesh.Define(stage, f"{_ROOT}/mesh")
        prim.CreateSubdivisionSchemeAttr(pxr.UsdGeom.Tokens.none)
        prim.CreateDoubleSidedAttr(True)
        prim.CreateFaceVertexCountsAttr(pxr.Vt.IntArray.FromNumpy(np.full(len(triangles), 3, np.int32)))
        prim.CreateFaceVertexIndicesAttr(pxr.Vt.IntArray.FromNumpy(np.ascontiguousarray(triangles.reshape(-1))))
    prim.CreatePointsAttr(_vectors(pxr, cloud.points))
    bounds = np.stack([cloud.points.min(axis=0), cloud.points.max(axis=0)])
    prim.CreateExtentAttr(_vectors(pxr, bounds))
    if all_known(cloud.normals):
        prim.CreateNormalsAttr(_vectors(pxr, cloud.normals))
        prim.SetNormalsInterpolation(pxr.UsdGeom.Tokens.vertex)
    return prim


def _add_colors(pxr: Any, stage: Any, prim: Any, shape: Shape) -> None:
    """Colours of vertices, and a material that shows them where ``displayColor`` alone would not be seen."""
    colors = pxr.UsdGeom.PrimvarsAPI(prim).CreatePrimvar(
        "displayColor", pxr.Sdf.ValueTypeNames.Color3fArray, pxr.UsdGeom.Tokens.vertex
    )
    colors.Set(_vectors(pxr, linear_from_srgb(cloud_of(shape).colors)))
    if isinstance(shape, PointCloud):
        return
    reader = _node(pxr, stage, "colors", "UsdPrimvarReader_float3", {"varname": ("String", "displayColor")})
    color = reader.CreateOutput("result", pxr.Sdf.ValueTypeNames.Float3)
    _add_material(pxr, stage, prim, color)


def _add_texture(pxr: Any, stage: Any, prim: Any, shape: TexturedMesh, picture: str) -> None:
    types = pxr.Sdf.ValueTypeNames
    places = pxr.UsdGeom.PrimvarsAPI(prim).CreatePrimvar("st", types.TexCoord2fArray, pxr.UsdGeom.Tokens.vertex)
    places.Set(_vectors(pxr, flipped(shape.uv)))
    reader = _node(pxr, stage, "places", "UsdPrimvarReader_float2", {"varname": ("String", "st")})
    inputs = {
        "file": ("Asset", picture),
        "sourceColorSpace": ("Token", "sRGB"),
        "wrapS": ("Token", "clamp"),
        "wrapT": ("Token", "clamp"),
    }
    sampler = _node(pxr, stage, "texture", "UsdUVTexture", inputs)
    place = reader.CreateOutput("result", types.Float2)
    sampler.CreateInput("st", types.Float2).ConnectToSource(place)
    _add_material(pxr, stage, prim, sampler.CreateOutput("rgb", types.Float3))


def _node(pxr: Any, stage: Any, name: str, kind: str, inputs: dict[str, tuple[str, str]]) -> Any:
    shader = pxr.UsdShade.Shader.Define(stage, f"{_ROOT}/material/{name}")
    shader.CreateIdAttr(kind)
    for key, (type_, value) in inputs.items():
        shader.CreateInput(key, getattr(pxr.Sdf.ValueTypeNames, type_)).Set(value)
    return shader


def _add_material(pxr: Any, stage: Any, prim: Any, color: Any) -> None:
    material = pxr.UsdShade.Material.Define(stage, f"{_ROOT}/material")
    surface = _node(pxr, stage, "surface", "UsdPreviewSurface", {})
    surface.CreateInput("roughness", pxr.Sdf.ValueTypeNames.Float).Set(1.0)
    surface.CreateInput("metallic", pxr.Sdf.ValueTypeNames.Float).Set(0.0)
    surface.CreateInput("diffuseColor", pxr.Sdf.ValueTypeNames.Color3f).ConnectToSource(color)
    output = surface.CreateOutput("surface", pxr.Sdf.ValueTypeNames.Token)
    material.CreateSurfaceOutput().ConnectToSource(output)
    pxr.UsdShade.MaterialBindingAPI.Apply(prim.GetPrim()).Bind(material)


def _add_camera(pxr: Any, stage: Any, path: CameraPath) -> None:
    """The camera with its path; the film's offset holds a principal point that is not in the middle."""
    camera, intrinsics = pxr.UsdGeom.Camera.Define(stage, f"{_ROOT}/camera"), path.intrinsics
    unit_x, unit_y = _APERTURE / intrinsics.width, _APERTURE / intrinsics.width * intrinsics.fx / intrinsics.fy
    camera.CreateHorizontalApertureAttr(_APERTURE)
    camera.CreateVerticalApertureAttr(intrinsics.height * unit_y)
    camera.CreateFocalLengthAttr(intrinsics.fx * unit_x)
    camera.CreateHorizontalApertureOffsetAttr((intrinsics.width / 2 - intrinsics.cx) * unit_x)
    camera.CreateVerticalApertureOffsetAttr((intrinsics.cy - intrinsics.height / 2) * unit_y)
    camera.CreateClippingRangeAttr(pxr.Gf.Vec2f(0.01, 10000))
    for name in _SIZE:
        camera.GetPrim().SetCustomDataByKey(name, getattr(intrinsics, name))
    poses = path.asset_from_camera @ np.diag(OPENGL_FROM_OPENCV)
    codes = (path.times - path.times[0]) * RATE
    place = camera.AddTransformOp()
    for code, pose in zip(codes.tolist(), poses, strict=True):
        place.Set(pxr.Gf.Matrix4d(pose.T.tolist()), code)  # rows, as USD multiplies from the left
    stage.SetStartTimeCode(0.0)
    stage.SetEndTimeCode(codes.tolist()[-1])


def read_usd(path: Path) -> Scene:
    """Read all meshes (or points) of a USD or USDZ file as one shape in metres, at its first time.

    Raises:
        FormatError: it is missing, damaged, or holds neither triangles nor points.
        MissingPackageError: usd-core is not installed.
    """
    pxr = _pxr(path)
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file")
    try:
        stage = pxr.Usd.Stage.Open(str(path))
    except pxr.Tf.ErrorException as error:
        raise FormatError(f"{path}: cannot be read as USD ({' '.join(str(error).split())})") from error
    if stage is None:
        raise FormatError(f"{path}: cannot be read as USD")
    scale = float(pxr.UsdGeom.GetStageMetersPerUnit(stage))
    places = pxr.UsdGeom.XformCache()
    parts = [
        _part(pxr, path, prim, np.array(places.GetLocalToWorldTransform(prim)).T * [[scale], [scale], [scale], [1]])
        for prim in stage.Traverse()
        if prim.IsA(pxr.UsdGeom.Mesh) or prim.IsA(pxr.UsdGeom.Points)
    ]
    if not parts:
        raise FormatError(f"{path}: holds no triangles and no points")
    usual: Up = "z" if pxr.UsdGeom.GetStageUpAxis(stage) == "Z" else "y"
    extras = dict(stage.GetRootLayer().customLayerData)
    return Scene(joined(parts), up_from(extras, usual), _camera_path(pxr, stage), notes_from(extras))


def _part(pxr: Any, path: Path, prim: Any, pose: Float64[np.ndarray, "4 4"]) -> Shape:
    """One prim; where something belongs to corners and not to vertices, every corner becomes a vertex."""
    cloud = _vertices(pxr, prim, pose)
    colors, colors_of = _primvar(pxr, prim, "displayColor", 3)
    if prim.IsA(pxr.UsdGeom.Points):
        return _colored(cloud, colors)
    corners, counts = _faces(pxr, path, prim, len(cloud))
    uv, uv_of = _primvar(pxr, prim, "st", 2)
    if "faceVarying" in {colors_of, uv_of}:
        colors = colors[corners] if colors_of == "vertex" else colors
        uv = uv[corners] if uv_of == "vertex" else uv
        cloud = PointCloud(cloud.points[corners], cloud.colors[corners], cloud.normals[corners])
        corners = np.arange(len(corners))
    mesh = checked_mesh(path, _colored(cloud, colors), corners[fans(counts)])
    picture = _picture(pxr, path, prim) if len(uv) == len(cloud) else None
    return mesh if picture is None else textured(mesh, flipped(uv), picture)


def _vertices(pxr: Any, prim: Any, pose: Float64[np.ndarray, "4 4"]) -> PointCloud:
    """Points of a prim in the world, grey, with normals where each has one."""
    shape = pxr.UsdGeom.PointBased(prim)
    points = np.array(shape.GetPointsAttr().Get(_first(pxr)), np.float64).reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
    normals = np.array(shape.GetNormalsAttr().Get(_first(pxr)) or [], np.float32).reshape(-1, 3)
    if len(normals) != len(points):
        normals = np.zeros(points.shape, np.float32)
    elif not np.allclose(pose[:3, :3], np.eye(3)):
        turned = normals @ np.linalg.inv(pose[:3, :3])
        normals = (turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return PointCloud(points.astype(np.float32), grey(len(points)), normals)


def _faces(pxr: Any, path: Path, prim: Any, count: int) -> tuple[Int64[np.ndarray, " c"], Int64[np.ndarray, " f"]]:
    """The vertex of each corner, and how many corners each polygon has."""
    mesh = pxr.UsdGeom.Mesh(prim)
    corners = np.array(mesh.GetFaceVertexIndicesAttr().Get(_first(pxr)), np.int64)
    counts = np.array(mesh.GetFaceVertexCountsAttr().Get(_first(pxr)), np.int64)
    known = corners.min(initial=0) >= 0 and corners.max(initial=-1) < count
    if not known or counts.sum() != len(corners):
        raise FormatError(f"{path}: is damaged: its faces do not fit its {count} points")
    return corners, counts


def _first(pxr: Any) -> Any:
    return pxr.Usd.TimeCode.EarliestTime()


def _primvar(pxr: Any, prim: Any, name: str, width: int) -> tuple[Float32[np.ndarray, "n w"], str]:
    """The values, spread over their indices, and what they belong to ("vertex", "faceVarying", ... or "")."""
    primvar = pxr.UsdGeom.PrimvarsAPI(prim).GetPrimvar(name)
    values = primvar.ComputeFlattened(_first(pxr)) if primvar else None
    if values is None:
        return np.zeros((0, width), np.float32), ""
    kind = str(primvar.GetInterpolation())
    return np.array(values, np.float32).reshape(-1, width), "vertex" if kind == "varying" else kind


def _colored(cloud: PointCloud, light: Float32[np.ndarray, "k 3"]) -> PointCloud:
    """With one colour for each point, or one for all; else as it was."""
    if len(light) == 1:
        light = np.tile(light, (len(cloud), 1))
    return PointCloud(cloud.points, srgb_from_linear(light), cloud.normals) if len(light) == len(cloud) else cloud


def _picture(pxr: Any, path: Path, prim: Any) -> Picture | None:
    """The picture that is connected to the diffuse colour of the prim's material."""
    material = pxr.UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]
    surface = material.ComputeSurfaceSource()[0] if material else None
    color = surface.GetInput("diffuseColor") if surface else None
    source = color.GetConnectedSources()[0] if color else []
    shader = pxr.UsdShade.Shader(source[0].source.GetPrim()) if source else None
    if shader is None or shader.GetIdAttr().Get() != "UsdUVTexture":
        return None
    asset = pxr.Ar.GetResolver().OpenAsset(pxr.Ar.ResolvedPath(shader.GetInput("file").Get().resolvedPath))
    if not asset:
        raise FormatError(f"{path}: its texture is missing")
    return decoded(path, bytes(asset.GetBuffer()))


def _camera_path(pxr: Any, stage: Any) -> CameraPath | None:
    """The first camera with its path; a picture 1000 square pixels high, where recon did not say its size."""
    prim = next((prim for prim in stage.Traverse() if prim.IsA(pxr.UsdGeom.Camera)), None)
    if prim is None:
        return None
    codes = pxr.UsdGeom.Xformable(prim).GetTimeSamples() or [0.0]
    poses = np.stack([np.array(pxr.UsdGeom.XformCache(code).GetLocalToWorldTransform(prim)).T for code in codes])
    poses[:, :3, :3] /= np.linalg.norm(poses[:, :3, :3], axis=1, keepdims=True)
    poses[:, :3, 3] *= float(pxr.UsdGeom.GetStageMetersPerUnit(stage))
    camera = pxr.UsdGeom.Camera(prim)
    wide, high, focal, x, y = (
        float(getattr(camera, f"Get{name}Attr")().Get())
        for name in (
            "HorizontalAperture",
            "VerticalAperture",
            "FocalLength",
            "HorizontalApertureOffset",
            "VerticalApertureOffset",
        )
    )
    width, height = (int(prim.GetCustomDataByKey(name) or 0) for name in _SIZE)
    if width < 1 or height < 1:
        width, height = round(wide / high * 1000), 1000
        wide = high / height * width  # square pixels
    unit_x, unit_y = wide / width, high / height
    centre = width / 2 - x / unit_x, height / 2 + y / unit_y
    intrinsics = Intrinsics(focal / unit_x, focal / unit_y, *centre, width, height)
    times = np.array(codes, np.float64) / float(stage.GetTimeCodesPerSecond())
    return CameraPath(times, poses @ np.diag(OPENGL_FROM_OPENCV), intrinsics)
