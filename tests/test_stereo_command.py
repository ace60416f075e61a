"""`recon stereo3d`, on the rendered room with exact depth: it writes what it says, and refuses what cannot be."""

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
import yaml
from stereo_films import eyes_of, film_of

from recon.evaluation.stereo import rematch
from recon.io.clip import look_at
from recon.io.depth import read_depth_map
from recon.io.pictures import read_picture
from recon.io.stereo.frames import look_of
from recon.io.video import open_source
from recon.models.stereo_warp import TorchWarp
from recon.pipelines import stereo_film
from recon.pipelines.stereo_verify import verified
from recon.settings import SamplingSettings
from recon.stages.stereo import Layout, unpacked
from recon_cli.cli import run

ROOM = Path(__file__).resolve().parents[1] / "samples" / "room"
DEPTH = ["--depth", f"{ROOM}/depth"]
FEW = ["--end", "0.3", *DEPTH]
SIZE = (288, 384)
CUDA = torch.cuda.is_available()


def recon(*tokens: object) -> int:
    return run([*map(str, tokens), "--quiet"])


def pictures(path: Path) -> list[np.ndarray]:
    return [frame.rgb for frame in open_source(path, SamplingSettings()).frames()]


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames; all of it in front of the screen, the left eye as it was filmed."""
    output = tmp_path_factory.mktemp("deep") / "room.mp4"
    far = ["--convergence", 0, "--strength", 5, "--front", 6, "--behind", 1, "--window", "off"]
    assert recon("stereo3d", ROOM / "room.mp4", *FEW, *far, "--eyes", "right", "--quality", 8, "-o", output) == 0
    return output


def test_sign_and_scale_survive_the_whole_command(deep: Path) -> None:
    """Encoded, decoded and taken apart, the eyes match as far apart as asked: to 1 %, and not the other way round."""
    shot = yaml.safe_load(deep.with_name("room.mp4.yaml").read_text())["provenance"]["shots"][0]
    assert shot["strength"] == pytest.approx(0.05)
    left, right = unpacked(pictures(deep)[3], "full-sbs")
    depth = read_depth_map(sorted((ROOM / "depth").glob("*.png"))[3], scale=1000.0)
    disparity = ((1 / depth - shot["screen"]) * shot["gain"] * SIZE[1]).astype(np.float32)
    told, swapped = rematch(left, right, disparity), rematch(right, left, disparity)
    assert told.coverage >= 0.7
    assert told.coverage >= 3 * swapped.coverage
    assert told.scale == pytest.approx(1, abs=0.01)


def test_the_eye_that_was_filmed_is_the_film(deep: Path) -> None:
    """Up to what the encoder loses."""
    for made, filmed in zip(pictures(deep), pictures(ROOM / "room.mp4"), strict=False):
        left, _ = unpacked(made, "full-sbs")
        assert np.abs(left.astype(int) - filmed).mean() < 1.5


Shot = tuple[list[np.ndarray], list[np.ndarray]]


@pytest.fixture(scope="module")
def shots() -> tuple[Shot, Shot]:
    """Pictures and depth: the start of the room, and its end in a mirror."""
    seen = pictures_of_room(60)
    depths = [read_depth_map(path, scale=1000.0) for path in sorted((ROOM / "depth").glob("*.png"))]
    return (seen[:8], depths[:8]), ([each[:, ::-1] for each in seen[-8:]], [each[:, ::-1] for each in depths[-8:]])


def test_the_warp_of_torch_gives_the_same_film(shots: tuple[Shot, Shot], tmp_path: Path) -> None:
    """What CUDA would do; here, on a CPU. A level may round to the other side."""
    film = film_of(shots[0][0][:3], shots[0][1][:3], tmp_path / "film")
    (compiled,), (of_torch,) = eyes_of(film), eyes_of(film, TorchWarp("cpu"))
    for (one,), (other,) in zip(compiled, of_torch, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_a_shot_does_not_depend_on_the_one_before(shots: tuple[Shot, Shot], tmp_path: Path) -> None:
    """Not by a level: neither its parallax, nor its screen, nor what it shows behind things."""
    first, second = shots
    alone = eyes_of(film_of(*second, tmp_path / "alone"))
    both = eyes_of(film_of([*first[0], *second[0]], [*first[1], *second[1]], tmp_path / "both"))
    assert [len(shot) for shot in both] == [8, 8], "the cut is found"
    for one, other in zip(alone[0], both[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_stands_does_not_flicker(shots: tuple[Shot, Shot], tmp_path: Path) -> None:
    """The same picture and depth again and again: the same eyes, to the last bit."""
    pictures, depths = (each[:1] * 8 for each in shots[0])
    (shot,) = eyes_of(film_of(pictures, depths, tmp_path / "still"))
    for eyes in shot[1:]:
        np.testing.assert_array_equal(eyes, shot[0])


def test_black_bars_stay_on_the_screen(shots: tuple[Shot, Shot], tmp_path: Path) -> None:
    """Whatever depth says of them; what is between them is made as if they were not there."""
    rows = (40, 40)
    barred = [np.pad(each, (rows, (0, 0), (0, 0))) for each in shots[0][0]]
    depths = [np.pad(each, (rows, (0, 0)), constant_values=0.5) for each in shots[0][1]]
    (plain,) = eyes_of(film_of(*shots[0], tmp_path / "plain"))
    (made,) = eyes_of(film_of(barred, depths, tmp_path / "barred"))
    for (with_bars,), (without,) in zip(made, plain, strict=True):
        assert not with_bars[:40].any()
        assert not with_bars[-40:].any()
        difference = np.abs(with_bars[40:-40].astype(int) - without)
        assert (difference > 2).mean() < 0.02, "at the bars, maps are not trusted to the pixel"


def test_times_are_those_of_the_film(deep: Path) -> None:
    made, filmed = (open_source(path, SamplingSettings(end=0.3)).frames() for path in (deep, ROOM / "room.mp4"))
    assert [frame.time for frame in made] == pytest.approx([frame.time for frame in filmed], abs=1e-4)


def test_the_file_is_what_it_says(deep: Path) -> None:
    verdict = verified(deep)
    assert verdict.signals.layout == verdict.seen == "full-sbs"
    assert verdict.signals.agree
    assert verdict.order is not None
    assert verdict.order > 0
    assert verdict.parallax is not None
    low, high = verdict.parallax
    assert low == pytest.approx(-0.05, abs=0.012)
    assert high == pytest.approx(0, abs=0.012)


def test_swapped_eyes_are_told(deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A film whose name and signals say one thing, and its pictures another."""
    swapped = tmp_path / "swapped.mp4"
    assert recon("stereo3d", deep, "--from-layout", "full-sbs", "--layout", "cross-eyed", "-o", swapped) == 0
    assert run(["stereo3d", "--verify", str(swapped)]) == 0
    assert "right eye first" in capsys.readouterr().err
    again = tmp_path / "wrong.mp4"
    assert recon("stereo3d", swapped, "--from-layout", "full-sbs", "-o", again) == 0
    verdict = verified(again)
    assert verdict.signals.layout == "full-sbs"
    assert verdict.order is not None
    assert verdict.order < 0


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        ("half-sbs", (288, 384)),
        ("full-tb", (576, 384)),
        ("half-tb", (288, 384)),
        ("row-interlaced", (288, 384)),
        ("checkerboard", (288, 384)),
        ("anaglyph", (288, 384)),
        ("rgbd", (288, 768)),
        ("depth", (288, 384)),
    ],
)
def test_layouts(layout: Layout, size: tuple[int, int], tmp_path: Path) -> None:
    output = tmp_path / "room.mp4"
    few = ["--end", "0.1", *DEPTH, "--holes", "picture", "--layout", layout]
    assert recon("stereo3d", ROOM / "room.mp4", *few, "-o", output) == 0
    made = pictures(output)
    assert [picture.shape[:2] for picture in made] == [size] * 2
    assert {path.name for path in tmp_path.iterdir()} == {"room.mp4", "room.mp4.yaml"}, "no parts are left"


def test_separate_eyes_and_a_half_sphere(tmp_path: Path) -> None:
    few = [*DEPTH, "--end", "0.1", "--holes", "picture"]
    assert recon("stereo3d", ROOM / "room.mp4", *few, "--layout", "separate", "-o", tmp_path / "eye.mp4") == 0
    left, right = (pictures(tmp_path / f"eye.{side}.mp4")[0] for side in ("left", "right"))
    assert left.shape == right.shape == (*SIZE, 3)
    assert np.abs(left.astype(int) - right).max() > 30
    assert recon("stereo3d", ROOM / "room.mp4", *few, "--fov", 65, "--layout", "vr180", "-o", tmp_path / "vr.mp4") == 0
    dome = pictures(tmp_path / "vr.mp4")[0]
    assert dome.shape[1] == 2 * dome.shape[0]
    assert dome[0].max() < 20, "65 degrees of 180 are seen"
    assert verified(tmp_path / "vr.mp4").signals.layout == "vr180"


def test_a_wiggle_goes_to_and_fro(tmp_path: Path) -> None:
    output = tmp_path / "room.gif"
    assert recon("stereo3d", ROOM / "room.mp4", *FEW, "--layout", "wiggle", "-o", output) == 0
    with av.open(str(output)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) >= 2
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 1


@pytest.fixture
def picture(tmp_path: Path) -> tuple[Path, Path]:
    """The first picture of the room, and a folder with its depth."""
    first = pictures_of_room(1)[0]
    file, depth = tmp_path / "one.png", tmp_path / "depth"
    cv2.imwrite(str(file), cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
    depth.mkdir()
    shutil.copy(min((ROOM / "depth").glob("*.png")), depth)
    return file, depth


def pictures_of_room(count: int) -> list[np.ndarray]:
    return [frame.rgb for frame in open_source(ROOM / "room.mp4", SamplingSettings(end=count / 20)).frames()]


def test_a_picture_becomes_a_picture(
    picture: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, depth = picture
    output = tmp_path / "two.png"
    assert recon("stereo3d", file, "--depth", depth, "--eyes", "right", "-o", output) == 0
    left, right = unpacked(read_picture(output), "full-sbs")
    np.testing.assert_array_equal(left, read_picture(file))
    assert np.abs(right.astype(int) - left).mean() > 2
    assert not capfd.readouterr().err
    verdict = verified(output)
    assert verdict.seen == "full-sbs"
    assert verdict.order is not None
    assert verdict.order > 0


# ------------------------------------------------------------------------------------------------- stopped, and batches


def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first segment that is missing; what other frames show behind things comes out the same, too."""
    monkeypatch.setattr(stereo_film, "SEGMENT", 2)
    whole, stopped = tmp_path / "whole.mp4", tmp_path / "stopped.mp4"
    assert recon("stereo3d", ROOM / "room.mp4", *FEW, "-o", whole) == 0
    begun: list[Path] = []
    writer = stereo_film.SegmentWriter

    def interrupted(path: Path, *others: object) -> object:
        begun.append(path)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return writer(path, *others)

    with monkeypatch.context() as patch:
        patch.setattr(stereo_film, "SegmentWriter", interrupted)
        assert recon("stereo3d", ROOM / "room.mp4", *FEW, "-o", stopped) == 130
    assert not stopped.exists()
    assert len(list(stereo_film.parts_of(stopped).glob("*.mp4"))) == 2
    written: list[Path] = []
    monkeypatch.setattr(stereo_film, "SegmentWriter", noting(writer, written))
    assert recon("stereo3d", ROOM / "room.mp4", *FEW, "-o", stopped) == 0
    assert len(written) == 1, "only what was missing"
    for one, other in zip(pictures(whole), pictures(stopped), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not stereo_film.parts_of(stopped).exists()


def noting(writer: Callable[..., object], written: list[Path]) -> Callable[..., object]:
    def noted(path: Path, *others: object) -> object:
        written.append(path)
        return writer(path, *others)

    return noted


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """A folder with a film, a broken one, and a text."""
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    shutil.copy(ROOM / "room.mp4", folder / "a.mp4")
    (folder / "b.mp4").write_bytes(b"no film")
    (folder / "notes.txt").write_text("mine")
    shutil.copy(ROOM / "room.mp4", folder / "more" / "c.mp4")
    return folder


def test_a_folder_is_converted_and_what_is_done_is_passed_over(
    still: Path, deep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--end", "0.1", *DEPTH, "--holes", "picture"]
    (still / ".hidden").mkdir()
    shutil.copy(ROOM / "room.mp4", still / ".hidden" / "a.mp4")
    (still / "._a.mp4").write_bytes(b"what macOS leaves behind")
    shutil.copy(deep, still / "d.3D.FSBS.mp4")
    assert run(["stereo3d", str(still), *few, "-o", f"{still}-3d", "--recursive"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "b.mp4" in said, "the broken one is named"
    assert "1 of 4 could not be converted" in said, "and counted; what is 3D already is none of them"
    assert "passed over" in said
    made = sorted(path.relative_to(f"{still}-3d") for path in Path(f"{still}-3d").rglob("*.mp4"))
    assert [path.parent.name for path in made] == ["", "more"]
    before = {path: path.stat().st_mtime_ns for path in Path(f"{still}-3d").rglob("*.mp4")}
    assert run(["stereo3d", str(still), *few, "-o", f"{still}-3d", "--recursive"]) == 1
    assert "is done" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_goes_on_near_the_first_segment_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the start of its shot: what was done in an hour is not done again."""
    output, seen = tmp_path / "room.mp4", []
    by_shot = stereo_film.by_shot

    def noted(*given: object) -> object:
        seen.append(given[2])
        return by_shot(*given)

    def write() -> int:
        few = [*FEW, "--holes", "picture", "--encoder", "libx264"]
        return recon("stereo3d", ROOM / "room.mp4", *few, "-o", output)

    monkeypatch.setattr(stereo_film, "SEGMENT", 2)
    monkeypatch.setattr(stereo_film, "BEFORE", 1)
    monkeypatch.setattr(stereo_film, "by_shot", noted)
    with monkeypatch.context() as patch:
        patch.setattr(stereo_film, "join", interrupted)
        assert write() == 130
    whole = sorted(stereo_film.parts_of(output).glob("*.mp4"))
    assert len(whole) == 3
    whole[-1].unlink()
    assert write() == 0
    assert seen == [0, 3], "one frame before the last segment"
    assert len(pictures(output)) == 6


def interrupted(*_given: object) -> object:
    raise KeyboardInterrupt


def test_a_film_of_one_frame_and_sound_that_is_longer(tmp_path: Path) -> None:
    film, output = tmp_path / "one.mkv", tmp_path / "two.mkv"
    with av.open(film, "w") as container:
        picture, sound = container.add_stream("libx264", rate=20), container.add_stream("pcm_s16le", rate=8000)
        picture.height, picture.width = SIZE
        container.mux(picture.encode(av.VideoFrame.from_ndarray(pictures_of_room(1)[0], "rgb24")))
        container.mux(picture.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
        silence.rate = 8000
        container.mux(sound.encode(silence))
    depth = tmp_path / "depth"
    depth.mkdir()
    shutil.copy(min((ROOM / "depth").glob("*.png")), depth)
    assert recon("stereo3d", film, "--depth", depth, "-o", output) == 0
    with av.open(output) as made:
        assert [stream.type for stream in made.streams] == ["video", "audio"]
        assert made.duration / av.time_base == pytest.approx(2, abs=0.1)
        assert len(list(made.decode(video=0))) == 1


def test_maps_of_another_shape_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = film_of([np.zeros((384, 216, 3), np.uint8)] * 2, [np.ones((216, 384), np.float32)] * 2, tmp_path)
    assert recon("stereo3d", film, "--depth", tmp_path / "depth", "-o", tmp_path / "out.mp4") == 2
    assert "maps of 384 x 216 do not fit pictures of 216 x 384" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ bad input


def test_a_film_in_3d_is_refused_until_somebody_says_what_to_do(
    deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recon("stereo3d", deep, "-o", tmp_path / "again.mp4") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "3D already (full-sbs): --from-layout full-sbs" in line
    assert not list(tmp_path.iterdir())
    assert recon("stereo3d", deep, "--from-layout", "full-sbs", "--layout", "half-tb", "-o", tmp_path / "tb.mkv") == 0
    verdict = verified(tmp_path / "tb.mkv")
    assert verdict.signals.layout == verdict.seen == "half-tb", "pixels of half the width: eyes are squeezed"
    assert verdict.order is not None
    assert verdict.order > 0


def test_two_views_in_one_stream_are_refused(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = shared / "data" / "videos_a" / "water_180_mvhevc_5frames.mov"
    assert recon("stereo3d", film, "-o", tmp_path / "out.mp4") == 2
    assert "MV-HEVC" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("layout", "suffix"), [("half-sbs", ".mp4"), ("half-sbs", ".mkv"), ("half-tb", ".mkv")])
def test_eyes_that_were_squeezed_have_square_pixels_again(layout: Layout, suffix: str, tmp_path: Path) -> None:
    """Whether the file said that its pixels are twice as wide (Matroska), or left it to the player."""
    squeezed, whole = tmp_path / f"squeezed{suffix}", tmp_path / "whole.mp4"
    few = [*DEPTH, "--end", "0.1", "--holes", "picture"]
    assert recon("stereo3d", ROOM / "room.mp4", *few, "--layout", layout, "-o", squeezed) == 0
    assert recon("stereo3d", squeezed, "--from-layout", layout, "-o", whole) == 0
    look = look_of(look_at(whole))
    assert (look.height, look.width) == (SIZE[0], 2 * SIZE[1])
    assert look.pixel_aspect == 1


@pytest.mark.parametrize(
    ("more", "said", "code"),
    [
        (["-o", "room.avi"], "room.avi", 2),
        (["--encoder", "libx267"], "FFmpeg is built without the encoder 'libx267'", 2),
        (["--strength", "3", "--ipd", "63", "--display", "tv"], "give one of them", 2),
        (["--ipd", "63"], "--ipd needs --display", 2),
        pytest.param(["--warp", "cuda"], "finds no NVIDIA card", 2, marks=pytest.mark.skipif(CUDA, reason="has one")),
        (["--convergence", "2"], "convergence", 2),
        (["--layout", "depth", "--from-layout", "full-sbs"], "--from-layout full-sbs looks for none", 2),
        (["--colours", "green-magenta", "--method", "optimized"], "choose dubois or color or gray", 2),
        (["-o", "room.mp4.yaml"], "room.mp4.yaml", 2),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_leaves_nothing(
    more: list[str],
    said: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [] if "-o" in more else ["-o", "room.mkv"]
    assert recon("stereo3d", ROOM / "room.mp4", *FEW, "--holes", "picture", *named, *more) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())
