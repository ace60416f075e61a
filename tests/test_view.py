"""The page of `recon view`: what it holds, what it must not do, and what a browser draws of it."""

import base64
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from recon.errors import FormatError
from recon.geometry import inverse, project, rigid, transform
from recon.io.asset import CameraPath, Look, Scene, turned
from recon.io.cloud import axes_comment, to_axes, write_ply
from recon.io.scene import write_scene
from recon.io.trajectory import write_tum
from recon.pipelines import view
from recon.pipelines.view import is_view, write_view
from recon.types import CameraTrajectory, Intrinsics, Mesh, Picture, PointCloud, TexturedMesh
from recon_cli.cli import run

WIDTH, HEIGHT = 640, 480
CAMERA = Intrinsics(490.0, 490.0, 290.0, 260.0, WIDTH, HEIGHT)
"""Not in the middle: what would go unnoticed otherwise."""
LENS = ("fx", "fy", "cx", "cy", "width", "height")

BRICK, GRASS, SKY, SUN = (188, 64, 32), (40, 150, 60), (30, 90, 200), (250, 200, 10)


class Page(HTMLParser):
    """The parts of a page as a browser would find them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.policy = self.title = self.heading = self.style = ""
        self._within = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        self.attributes += attrs
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag == "meta" and dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"] or ""

    def handle_endtag(self, _tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        parts = {"title": "title", "h1": "heading", "style": "style"}
        if self._within in parts:
            setattr(self, parts[self._within], getattr(self, parts[self._within]) + data)

    def block(self, name: str) -> bytes:
        return base64.b64decode(next(text for attributes, text in self.scripts if attributes.get("id") == name))

    @property
    def facts(self) -> dict[str, object]:
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "facts"))

    @property
    def blocks(self) -> set[str | None]:
        return {attributes.get("id") for attributes, _text in self.scripts} - {None, "facts"}


def patch(center: tuple[float, float, float], color: tuple[int, int, int]) -> PointCloud:
    """A dense little square of one colour, 0.4 wide, that faces the first camera."""
    axis = np.linspace(-0.2, 0.2, 9)
    points = np.stack(np.meshgrid(axis, axis, 0.0), axis=-1).reshape(-1, 3) + center
    return PointCloud(
        points.astype(np.float32), np.full((len(points), 3), color, np.uint8), np.zeros((len(points), 3), np.float32)
    )


def together(*clouds: PointCloud) -> PointCloud:
    points, colors, normals = (
        np.concatenate([getattr(cloud, name) for cloud in clouds]) for name in ("points", "colors", "normals")
    )
    return PointCloud(points, colors, normals)


CENTERS = {BRICK: (-1.0, -0.6, 4.0), GRASS: (1.0, -0.6, 4.0), SKY: (-1.0, 0.6, 4.0), SUN: (1.0, 0.6, 4.0)}
"""In OpenCV's axes, as the first camera sees them: upper left, upper right, lower left, lower right."""
SCENE = together(*(patch(center, color) for color, center in CENTERS.items()))


def scene_file(folder: Path, up: str = "z", comments: tuple[str, ...] = ("units: m",)) -> Path:
    path = folder / "scene.ply"
    write_ply(path, to_axes(SCENE, up), [*comments, axes_comment(up)])
    return path


# ------------------------------------------------------------------------------------------------------------ the page


def test_a_page_holds_the_points_as_they_are(tmp_path: Path) -> None:
    write_view(tmp_path / "view.html", scene_file(tmp_path))
    page = Page(tmp_path / "view.html")
    turned = to_axes(SCENE, "z")
    assert np.array_equal(np.frombuffer(page.block("positions"), "<f4").reshape(-1, 3), turned.points)
    assert np.array_equal(np.frombuffer(page.block("colors"), np.uint8).reshape(-1, 3), turned.colors)
    assert page.blocks == {"positions", "colors"}  # normals are unknown, and there are no cameras
    facts = page.facts
    assert (facts["kind"], facts["units"], facts["up"]) == ("cloud", "m", "+z")
    assert facts["spacing"] == pytest.approx(0.05, rel=1e-3)


def test_normals_are_a_byte_each(tmp_path: Path) -> None:
    normals = np.tile(np.array([0.6, 0.0, -0.8], np.float32), (len(SCENE), 1))
    write_ply(tmp_path / "scene.ply", PointCloud(SCENE.points, SCENE.colors, normals), [])
    write_view(tmp_path / "view.html", tmp_path / "scene.ply")
    packed = np.frombuffer(Page(tmp_path / "view.html").block("normals"), np.int8).reshape(-1, 3)
    assert np.abs(packed / 127 - normals).max() < 0.5 / 127


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    """No address in the page but the name of a namespace, and the browser is told to allow none."""
    write_view(tmp_path / "view.html", scene_file(tmp_path))
    text = (tmp_path / "view.html").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:https?|wss?):\\?/\\?/[^\s\"'`)]*", text)) <= {"http://www.w3.org/1999/xhtml"}
    page = Page(tmp_path / "view.html")
    assert not [name for name, _value in page.attributes if name in {"src", "href", "style"} or name.startswith("on")]
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules["connect-src"].split()) == {"blob:", "data:"}  # of its own memory: textures of a GLB
    code = [text for attributes, text in page.scripts if "type" not in attributes]
    assert rules["script-src"].split() == [hash_of(script) for script in code]
    assert rules["style-src"] == hash_of(page.style)


def hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def test_names_and_comments_are_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>&\"' <\\script>.ply"
    evil = "units: </script><script>alert(2)</script>"
    write_ply(tmp_path / name, SCENE, [evil])
    write_view(tmp_path / "view.html", tmp_path / name)
    page = Page(tmp_path / "view.html")
    assert page.title == page.heading == name
    assert len(page.scripts) == 5  # facts, positions, colors, three.js, viewer
    assert "alert(2)</script>" not in (tmp_path / "view.html").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_shown_as_well_as_can_be(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/room\xff.ply"))
    write_ply(path, SCENE, [])
    write_view(tmp_path / "view.html", path)
    assert Page(tmp_path / "view.html").title == "room?.ply"


def test_what_is_too_much_is_drawn_by_chance_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MOST_POINTS", 100)
    write_view(tmp_path / "view.html", scene_file(tmp_path))
    page = Page(tmp_path / "view.html")
    shown = np.frombuffer(page.block("positions"), "<f4").reshape(-1, 3)
    assert len(shown) == 100
    whole = {tuple(point) for point in to_axes(SCENE, "z").points}
    assert {tuple(point) for point in shown} <= whole
    assert f"100 of {len(SCENE):,} points are shown" in (tmp_path / "view.html").read_text(encoding="utf-8")
    write_view(tmp_path / "again.html", tmp_path / "scene.ply")
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "view.html").read_bytes()


# ---------------------------------------------------------------------------------------------------------- the camera


def camera_path(turn: np.ndarray | None = None) -> CameraTrajectory:
    """A camera that steps to the right, looking ahead; in OpenCV's world, or that turned."""
    poses = np.stack([rigid(np.eye(3), np.array([0.1 * step, 0.0, 0.0])) for step in range(5)])
    return CameraTrajectory(np.arange(5) / 10 + 2, poses if turn is None else turn @ poses)


def test_the_path_is_that_of_the_file_beside(tmp_path: Path) -> None:
    write_tum(tmp_path / "scene.tum", camera_path())
    summary = write_view(tmp_path / "view.html", scene_file(tmp_path, "camera"))
    assert (summary.cameras, summary.path) == (5, tmp_path / "scene.tum")
    page = Page(tmp_path / "view.html")
    rows = np.frombuffer(page.block("poses"), "<f4").reshape(-1, 8)
    assert np.allclose(rows[:, 0], np.arange(5) / 10)
    assert np.allclose(rows[:, 1:4], [[0.1 * step, 0, 0] for step in range(5)])
    assert np.allclose(rows[:, 4:], [0, 0, 0, 1])
    assert page.facts["start"] == 2
    assert page.facts["up"] == "-y"  # as the pictures were held


def test_the_path_is_what_the_result_was_made_with(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    write_tum(tmp_path / "given" / "poses.txt", camera_path())
    camera = {"fx": 300.0, "fy": 310.0, "cx": 160.0, "cy": 90.0, "width": 320, "height": 180}
    record = {"camera": {"trajectory": "given/poses.txt"}, "provenance": {"camera": camera}}
    (tmp_path / "scene.ply.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")
    assert write_view(tmp_path / "view.html", scene_file(tmp_path, "camera")).cameras == 5
    assert Page(tmp_path / "view.html").facts["camera"] == camera


def test_poses_in_other_axes_than_the_cloud_are_turned(tmp_path: Path) -> None:
    """`recon poses` says in its record in which axes they are."""
    write_tum(tmp_path / "scene.tum", camera_path())
    record = {"provenance": {"axes": axes_comment("camera").removeprefix("axes: ")}}
    (tmp_path / "scene.tum.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")
    write_view(tmp_path / "view.html", scene_file(tmp_path, "z"))
    rows = np.frombuffer(Page(tmp_path / "view.html").block("poses"), "<f4").reshape(-1, 8)
    half = np.sqrt(0.5)
    assert np.allclose(
        np.abs(rows[:, 4:] @ [-half, 0, 0, half]), 1
    )  # q and -q are one; the camera's z, forward, is the file's y


# ----------------------------------------------------------------------------------------------------------- bad input


EMPTY = b"""ply
format ascii 1.0
element vertex 0
property float x
property float y
property float z
end_header
"""


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("room.blend", b"BLENDER", "known are .glb"),
        ("room.ply", b"solid", "is not a PLY file"),
        ("room.ply", EMPTY, "nothing to look at"),
        ("room.glb", b"glT", "is damaged"),
    ],
)
def test_what_cannot_be_shown_is_told(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(says)):
        write_view(tmp_path / "view.html", tmp_path / name)
    assert not (tmp_path / "view.html").exists()


def square(picture: Picture | None = None) -> Mesh | TexturedMesh:
    """Two triangles from -1 to 1, y up, seen from +z; with its colours in a picture if one is given."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    colors = np.full((4, 3), BRICK, np.uint8)
    normals = np.tile(np.array([0, 0, 1], np.float32), (4, 1))
    mesh = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), colors, normals)
    return (
        mesh
        if picture is None
        else TexturedMesh(mesh, (corners[:, :2] * [0.5, -0.5] + 0.5).astype(np.float32), picture)
    )


def test_a_glb_is_embedded_as_it_is_with_its_own_path(tmp_path: Path) -> None:
    own = camera_path()
    path = CameraPath(own.times, own.world_from_camera, CAMERA)
    write_scene(tmp_path / "square.glb", Scene(square(), "y", path))
    write_tum(tmp_path / "square.tum", CameraTrajectory(own.times[:2], own.world_from_camera[:2]))
    summary = write_view(tmp_path / "view.html", tmp_path / "square.glb")
    assert (summary.shown, summary.cameras, summary.path) == ("2 triangles", 5, tmp_path / "square.glb")
    page = Page(tmp_path / "view.html")
    assert page.block("model") == (tmp_path / "square.glb").read_bytes()
    assert page.facts["camera"] == {name: getattr(CAMERA, name) for name in LENS}
    given = write_view(tmp_path / "view.html", tmp_path / "square.glb", trajectory=tmp_path / "square.tum")
    assert given.cameras == 2


def test_a_glb_that_needs_other_files_is_refused(tmp_path: Path) -> None:
    """recon reads it, as its picture lies there; a page could not."""
    trimesh = pytest.importorskip("trimesh")
    write_scene(tmp_path / "whole.glb", Scene(square(), "y"))
    data = trimesh.load(tmp_path / "whole.glb").export(file_type="gltf")
    (tmp_path / "buffers").mkdir()
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    text = (tmp_path / "model.gltf").read_bytes()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON")
    (tmp_path / "parts.glb").write_bytes(head + text)
    with pytest.raises(FormatError, match="needs another file"):
        write_view(tmp_path / "view.html", tmp_path / "parts.glb")


def test_help_is_what_it_was(snapshot: object) -> None:
    command = [sys.executable, "-c", "from recon_cli.cli import main; main()", "view", "--help"]
    environment = {**os.environ, "COLUMNS": "100"}
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout == snapshot


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    scene_file(tmp_path)
    assert run(["view", "scene.ply", "--open"]) == 0
    assert opened == [(tmp_path / "scene.html").as_uri()]
    assert is_view(tmp_path / "scene.html")
    assert run(["view", "scene.ply", "-q"]) == 0  # its own page is replaced
    (tmp_path / "mine.html").write_text("<p>mine</p>", encoding="utf-8")
    capsys.readouterr()
    for arguments, code, says in (
        (["scene.ply", "-o", "mine.html"], 2, "mine.html: is there already and was not made by recon"),
        (["scene.ply", "-o", "view.htm"], 2, "must end in .html"),
        (["nothing.ply"], 1, "nothing.ply: there is no such file"),
        (["scene.ply", "--trajectory", "none.tum"], 2, "none.tum: there is no such file"),
    ):
        assert run(["view", *arguments]) == code
        told = capsys.readouterr().err
        assert says in told
        assert len(told.splitlines()) == 1


# ------------------------------------------------------------------------------------------------- what a browser draws


@dataclass(frozen=True, slots=True)
class Shot:
    """What a browser drew, and what it complained of."""

    picture: Picture
    console: list[str]

    def at(self, x: float, y: float) -> tuple[int, ...]:
        return tuple(self.picture[int(y), int(x)].tolist())


@pytest.fixture
def browser(tmp_path: Path) -> Callable[[Path, str], Shot]:
    program = os.environ.get("RECON_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium: put it on the PATH or name it in RECON_CHROMIUM")
    flags = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    flags += ["--hide-scrollbars", "--force-device-scale-factor=1", "--virtual-time-budget=3000"]
    flags += ["--enable-logging=stderr", f"--user-data-dir={tmp_path}/browser", f"--window-size={WIDTH},{HEIGHT}"]

    def shoot(page: Path, options: str) -> Shot:
        file = tmp_path / "shot.png"
        command = [program, *flags, f"--screenshot={file}", f"{page.as_uri()}#{options}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        picture = cv2.cvtColor(cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert picture.shape == (HEIGHT, WIDTH, 3)
        return Shot(picture, [line for line in done.stderr.splitlines() if "CONSOLE" in line])

    return shoot


def middles(picture: Picture, color: tuple[int, int, int]) -> tuple[float, float]:
    """Mean place of the pixels of exactly this colour; enough of them must be there."""
    y, x = np.nonzero((picture == color).all(axis=-1))
    assert len(x) > 200, f"{color} is hardly there: {len(x)} pixels"
    return float(x.mean()), float(y.mean())


def test_a_cloud_stands_upright_in_its_own_colours(tmp_path: Path, browser: Callable[[Path, str], Shot]) -> None:
    """The file's z points up; seen from its -y, x goes to the right."""
    write_view(tmp_path / "view.html", scene_file(tmp_path))
    shot = browser(tmp_path / "view.html", "bare&grid=0&theme=light&eye=0,-0.5,0&target=0,4,0")
    assert shot.console == []
    place = {color: middles(shot.picture, color) for color in CENTERS}
    assert place[BRICK][0] < WIDTH / 2 < place[GRASS][0]
    assert place[SKY][0] < WIDTH / 2 < place[SUN][0]
    assert place[BRICK][1] < HEIGHT / 2 < place[SKY][1]
    assert place[GRASS][1] < HEIGHT / 2 < place[SUN][1]
    assert shot.at(3, 3) == (0xFB, 0xFB, 0xFA)  # the paper


def test_through_the_camera_one_sees_what_it_saw(tmp_path: Path, browser: Callable[[Path, str], Shot]) -> None:
    """Each patch is where the pinhole model puts it, for a camera that is turned, rolled and not centred."""
    angles = np.array([0.06, -0.08, 0.15])
    pose = rigid(cv2.Rodrigues(angles)[0], np.array([0.2, -0.1, -0.5]))
    poses = np.stack([rigid(np.eye(3), np.zeros(3)), pose, pose])
    write_tum(tmp_path / "scene.tum", CameraTrajectory(np.array([1.0, 1.1, 1.2]), poses))
    fields = {name: getattr(CAMERA, name) for name in LENS}
    (tmp_path / "scene.ply.yaml").write_text(yaml.safe_dump({"provenance": {"camera": fields}}), encoding="utf-8")
    write_view(tmp_path / "view.html", scene_file(tmp_path, "camera"))
    shot = browser(tmp_path / "view.html", "bare&grid=0&mode=look&time=1.15")
    assert shot.console == []
    for color, center in CENTERS.items():
        expected = project(transform(inverse(pose), np.array([center])), CAMERA)[0]
        assert np.allclose(middles(shot.picture, color), expected, atol=1), color


def test_cameras_and_their_path_are_drawn(tmp_path: Path, browser: Callable[[Path, str], Shot]) -> None:
    write_tum(tmp_path / "scene.tum", camera_path())
    write_view(tmp_path / "view.html", scene_file(tmp_path, "camera"))
    path = (0x7C, 0xC0, 0xF5)
    now = (0xFF, 0x9A, 0x4D)
    picture = browser(tmp_path / "view.html", "bare&theme=dark").picture.astype(int)
    near = {color: (np.abs(picture - color).max(axis=-1) < 40).sum() for color in (path, now)}
    assert min(near.values()) > 20, near


def test_a_textured_mesh_has_the_colours_of_its_picture(tmp_path: Path, browser: Callable[[Path, str], Shot]) -> None:
    """A square of four colours; the file has z up and its picture beside it, the page has neither."""
    texture = np.zeros((64, 64, 3), np.uint8)
    for (row, column), color in zip(((0, 0), (0, 32), (32, 0), (32, 32)), (BRICK, GRASS, SKY, SUN), strict=True):
        texture[row : row + 32, column : column + 32] = color
    write_scene(tmp_path / "square.ply", turned(Scene(square(texture), "y"), "z"), look=Look(picture="png"))
    write_view(tmp_path / "view.html", tmp_path / "square.ply")
    shot = browser(tmp_path / "view.html", "bare&grid=0&eye=0,0,3&target=0,0,0")
    assert shot.console == []
    assert [shot.at(WIDTH / 2 + x, HEIGHT / 2 + y) for y in (-60, 60) for x in (-60, 60)] == [BRICK, GRASS, SKY, SUN]


def test_colours_of_vertices_are_exact_and_a_back_is_seen_through(
    tmp_path: Path, browser: Callable[[Path, str], Shot]
) -> None:
    write_scene(tmp_path / "square.glb", Scene(square(), "y"))
    write_view(tmp_path / "view.html", tmp_path / "square.glb")
    views = ("eye=0.1,0,4", "eye=0.1,0,-4")
    shots = [browser(tmp_path / "view.html", f"bare&grid=0&theme=dark&target=0,0,0&{eye}") for eye in views]
    assert [shot.console for shot in shots] == [[], []]
    assert [shot.at(WIDTH / 2, HEIGHT / 2) for shot in shots] == [BRICK, (0x16, 0x18, 0x1B)]
