"""Imports files into Blender as a user would, and prints what is there as JSON.

Run by the Python of an environment with bpy: ``python check_import.py FILE...``; each GLB is rendered as its own camera
sees it, into FILE.png.
"""

import json
import sys
from pathlib import Path

import bpy
import numpy as np

_OPERATORS = {
    ".glb": lambda path: bpy.ops.import_scene.gltf(filepath=path),
    ".ply": lambda path: bpy.ops.wm.ply_import(filepath=path),
    ".obj": lambda path: bpy.ops.wm.obj_import(filepath=path),
    ".stl": lambda path: bpy.ops.wm.stl_import(filepath=path),
    ".usdz": lambda path: bpy.ops.wm.usd_import(filepath=path),
}


def imported(path: Path) -> dict:
    """What an empty Blender holds after the import."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    _OPERATORS[path.suffix](str(path))
    bpy.context.view_layer.update()
    shapes = [each for each in bpy.data.objects if each.type in {"MESH", "POINTCLOUD"}]
    cameras = [each for each in bpy.data.objects if each.type == "CAMERA"]
    return {
        "shapes": [shape_of(each) for each in shapes],
        "cameras": [camera_of(each) for each in cameras],
        "images": [image_of(each) for each in bpy.data.images if each.size[0]],
        "notes": {key: str(value) for key, value in bpy.context.scene.items()},
    }


def shape_of(thing: bpy.types.Object) -> dict:
    """Bounds in Blender's world (z up), counts, colours as sRGB bytes."""
    if thing.type == "POINTCLOUD":
        points = np.array([point.co for point in thing.data.points])
        return {"kind": "points", "bounds": bounds_of(thing, points), "points": len(points)}
    mesh = thing.data
    points = np.array([vertex.co for vertex in mesh.vertices])
    mesh.calc_loop_triangles()
    return {
        "kind": "mesh",
        "bounds": bounds_of(thing, points),
        "vertices": len(points),
        "triangles": len(mesh.loop_triangles),
        "colors": [colors_of(each) for each in mesh.color_attributes],
        "uv": [uv_of(each) for each in mesh.uv_layers],
        "materials": [material_of(each) for each in mesh.materials if each],
    }


def bounds_of(thing: bpy.types.Object, points: np.ndarray) -> list:
    """Lowest and highest corner in the world."""
    world = np.array(thing.matrix_world)
    placed = points @ world[:3, :3].T + world[:3, 3]
    return [placed.min(axis=0).tolist(), placed.max(axis=0).tolist()]


def colors_of(attribute: bpy.types.Attribute) -> dict:
    """Each different colour, as Blender shows it."""
    colors = np.zeros(4 * len(attribute.data), np.float32)
    attribute.data.foreach_get("color_srgb", colors)
    seen = np.unique(np.rint(colors.reshape(-1, 4)[:, :3] * 255).astype(int), axis=0)
    return {"type": attribute.data_type, "domain": attribute.domain, "srgb": seen[:50].tolist()}


def uv_of(layer: bpy.types.MeshUVLoopLayer) -> list:
    """Lowest and highest place."""
    places = np.zeros(2 * len(layer.data), np.float32)
    layer.data.foreach_get("uv", places)
    places = places.reshape(-1, 2)
    return [places.min(axis=0).tolist(), places.max(axis=0).tolist()]


def material_of(material: bpy.types.Material) -> dict:
    """The kinds of its nodes, and its pictures."""
    nodes = material.node_tree.nodes if material.node_tree else []
    images = [node.image.name for node in nodes if node.type == "TEX_IMAGE" and node.image]
    return {"nodes": sorted({node.type for node in nodes}), "images": images}


def image_of(image: bpy.types.Image) -> dict:
    """Size, colour space, and the texel above left (Blender's rows begin below)."""
    pixels = np.array(image.pixels[:]).reshape(image.size[1], image.size[0], 4)
    corner = np.rint(pixels[-2, 1, :3] * 255).astype(int).tolist()
    return {"size": list(image.size), "space": image.colorspace_settings.name, "above_left": corner}


def camera_of(thing: bpy.types.Object) -> dict:
    """Lens, and where it stands at the first and the last key frame."""
    scene = bpy.context.scene
    start, end = frames_of(thing)
    places = []
    for frame in (start, end):
        scene.frame_set(int(frame), subframe=frame % 1)
        places.append(np.array(thing.matrix_world).tolist())
    return {"angle_x": thing.data.angle_x, "angle_y": thing.data.angle_y, "frames": [start, end], "places": places}


def frames_of(thing: bpy.types.Object) -> tuple[float, float]:
    """The first and the last frame that an animation has keys for; the constraint of USD has its own clock."""
    if thing.animation_data and thing.animation_data.action:
        start, end = thing.animation_data.action.frame_range
        return float(start), float(end)
    return float(bpy.context.scene.frame_start), float(bpy.context.scene.frame_end)


def render(path: Path) -> None:
    """What the camera of the present scene sees at the first frame, as exact as Cycles renders it."""
    scene = bpy.context.scene
    scene.camera = next(each for each in bpy.data.objects if each.type == "CAMERA")
    scene.frame_set(scene.frame_start)
    scene.render.engine, scene.cycles.device = "CYCLES", "CPU"
    scene.cycles.samples, scene.cycles.use_denoising = 1, False  # nothing to average: what is unlit has no noise
    scene.render.threads_mode, scene.render.threads = "FIXED", 2
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 320, 240, 100
    scene.view_settings.view_transform = "Standard"  # AgX would change the colours
    scene.render.dither_intensity = 0.0  # would move colours by one
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def main() -> None:
    """See above."""
    found = {}
    for file in map(Path, sys.argv[1:]):
        found[file.name] = imported(file)
        if file.suffix == ".glb":
            render(file.with_suffix(".glb.png"))
    sys.stdout.write("\nFOUND " + json.dumps(found) + "\n")


main()
