"""Pictures of what Blender shows of a result, as `docs/blender-and-unity.md` has them.

Run by a Python with bpy (`$(tests/blender/install.sh) docs/make_blender_pictures.py room.glb room.jpg`): seen by the
camera of the file at `--second`, or from `--eye` towards `--at` (Blender's axes: metres, z up, y ahead).
"""

import argparse
import math
from pathlib import Path

import bpy
from mathutils import Vector


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--second", type=float, default=0.0)
    parser.add_argument("--eye", type=float, nargs=3)
    parser.add_argument("--at", type=float, nargs=3, default=(0.0, 2.0, 1.0))
    parser.add_argument("--angle", type=float, default=55.0, help="of the longer side, degrees")
    parser.add_argument("--view", default="Standard", help="view transform: Standard or AgX")
    parser.add_argument("--size", type=int, nargs=2, default=(960, 720))
    parser.add_argument("--wires", action="store_true", help="triangles instead of the texture")
    return parser.parse_args()


def watched(scene: bpy.types.Scene, asked: argparse.Namespace) -> None:
    """Take the camera of the file at a time, or a new one."""
    if asked.eye is None:
        scene.camera = next(each for each in bpy.data.objects if each.type == "CAMERA")
        frame = asked.second * scene.render.fps
        scene.frame_set(int(frame), subframe=frame % 1)
        return
    scene.camera = bpy.data.objects.new("onlooker", bpy.data.cameras.new("onlooker"))
    scene.collection.objects.link(scene.camera)
    scene.camera.location = asked.eye
    ahead = Vector(asked.at) - scene.camera.location
    scene.camera.rotation_euler = ahead.to_track_quat("-Z", "Y").to_euler()
    scene.camera.data.angle, scene.camera.data.clip_start = math.radians(asked.angle), 0.01


def wired() -> None:
    """Show edges of triangles on grey."""
    material = bpy.data.materials.new("edges")
    tree = material.node_tree
    tree.nodes.clear()
    wire, color = tree.nodes.new("ShaderNodeWireframe"), tree.nodes.new("ShaderNodeMix")
    light, out = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    wire.use_pixel_size, wire.inputs["Size"].default_value, color.data_type = True, 0.8, "RGBA"
    color.inputs["A"].default_value, color.inputs["B"].default_value = (0.5, 0.5, 0.5, 1), (0.02, 0.02, 0.05, 1)
    tree.links.new(wire.outputs["Factor"], color.inputs["Factor"])
    tree.links.new(color.outputs["Result"], light.inputs["Color"])
    tree.links.new(light.outputs["Emission"], out.inputs["Surface"])
    for thing in bpy.data.objects:
        if thing.type == "MESH":
            thing.data.materials.clear()
            thing.data.materials.append(material)


def set_up(scene: bpy.types.Scene, asked: argparse.Namespace) -> None:
    """Cycles, whose unlit surfaces are exact, before a light grey world."""
    scene.render.engine, scene.cycles.device = "CYCLES", "CPU"
    scene.cycles.samples, scene.cycles.use_denoising = 16, False
    scene.render.threads_mode, scene.render.threads = "FIXED", 2
    scene.view_settings.view_transform = asked.view
    scene.render.resolution_x, scene.render.resolution_y = asked.size
    scene.render.resolution_percentage = 100
    is_jpeg = asked.picture.suffix == ".jpg"
    scene.render.image_settings.file_format = "JPEG" if is_jpeg else "PNG"
    scene.render.image_settings.quality = 85
    world = bpy.data.worlds.new("grey")
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.7, 0.7, 0.7, 1.0)
    scene.world = world


def main() -> None:
    """Import, look, render."""
    asked = arguments()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(asked.file.resolve()))
    scene = bpy.context.scene
    set_up(scene, asked)
    watched(scene, asked)
    if asked.wires:
        wired()
    scene.render.filepath = str(asked.picture.resolve())
    bpy.ops.render.render(write_still=True)


main()
