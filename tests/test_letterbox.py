"""Black bars: found where they are and nowhere else; what is seen within them is brought back to the whole picture."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import rgb_frame, write_clip
from hypothesis import assume, given
from hypothesis import strategies as st
from stand_in import Brightness

from recon.geometry import project
from recon.io.cloud import read_ply
from recon.io.store import ShotSpan
from recon.io.video import open_source
from recon.models import MetricNetwork
from recon.pipelines import run as pipeline
from recon.pipelines.anchors import MetricEye, MetricPictures
from recon.pipelines.cloud import ContentMaps
from recon.pipelines.depth import Unobserved
from recon.settings import SamplingSettings
from recon.stages.letterbox import Content, find_content
from recon.types import DepthEstimate, Intrinsics, MetricPicture, Picture, Quantity
from recon_cli.cli import run

HEIGHT, WIDTH = 180, 320
Bars = tuple[int, int, int, int]


def scenery(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Picture:
    """Smooth blobs of every brightness and colour."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    blobs: Picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return blobs


def barred(picture: Picture, bars: Bars, black: int = 0) -> Picture:
    top, bottom, left, right = bars
    height, width = picture.shape[:2]
    framed = np.full_like(picture, black)
    framed[top : height - bottom, left : width - right] = picture[top : height - bottom, left : width - right]
    return framed


def film(bars: Bars, count: int = 8) -> list[Picture]:
    return [barred(scenery(seed), bars) for seed in range(count)]


def noisy(picture: Picture, sigma: float, seed: int) -> Picture:
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).round().astype(np.uint8)


def found(content: Content) -> Bars:
    rows, columns = content.box(HEIGHT, WIDTH)
    return rows.start, HEIGHT - rows.stop, columns.start, WIDTH - columns.stop


BARS: list[Bars] = [(22, 22, 0, 0), (0, 0, 40, 40), (22, 21, 0, 0), (30, 0, 0, 0), (0, 0, 0, 17), (20, 20, 44, 44)]


class TestBarsAreFound:
    @pytest.mark.parametrize("bars", BARS)
    def test_to_the_pixel_where_pictures_are_clean(self, bars: Bars) -> None:
        assert found(find_content(film(bars))) == bars

    @pytest.mark.parametrize("bars", BARS)
    def test_with_noise_a_blurred_edge_and_the_black_of_limited_range(self, bars: Bars) -> None:
        pictures = [cv2.GaussianBlur(barred(scenery(seed), bars, 16), (5, 5), 0.9) for seed in range(8)]
        content = find_content(noisy(picture, 1.5, seed) for seed, picture in enumerate(pictures))
        np.testing.assert_allclose(found(content), bars, atol=2)

    @pytest.mark.parametrize("quality", ["18", "40"])
    @pytest.mark.parametrize("bars", [(22, 22, 0, 0), (0, 0, 43, 41)])
    def test_through_an_encoder(self, tmp_path: Path, bars: Bars, quality: str) -> None:
        clip = write_clip(tmp_path / "film.mp4", map(rgb_frame, film(bars)), options={"crf": quality})
        with closing(open_source(clip, SamplingSettings()).frames()) as frames:
            content = find_content(frame.rgb for frame in frames)
        np.testing.assert_allclose(found(content), bars, atol=2)

    @given(top=st.integers(4, 75), bottom=st.integers(4, 75), left=st.integers(5, 130), right=st.integers(5, 130))
    def test_of_any_width(self, top: int, bottom: int, left: int, right: int) -> None:
        assert found(find_content(film((top, bottom, left, right), 4))) == (top, bottom, left, right)

    def test_black_and_dark_pictures_among_them_do_not_hide_or_widen_them(self) -> None:
        bars = (22, 22, 0, 0)
        dark = [np.zeros((HEIGHT, WIDTH, 3), np.uint8), *(picture // 12 for picture in film(bars, 3))]
        assert found(find_content(dark + film(bars))) == bars

    def test_a_part_without_them_makes_their_place_content(self) -> None:
        wide, tall = film((40, 40, 0, 0)), film((12, 12, 0, 0))
        assert found(find_content(wide + tall)) == (12, 12, 0, 0)
        assert find_content([*wide, scenery(0)]) == Content()


class TestNothingElseIsABar:
    def test_black_films(self) -> None:
        assert find_content([]) == Content()
        assert find_content([np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 5) == Content()

    @pytest.mark.parametrize("bars", [(1, 1, 0, 0), (0, 0, 3, 0), (90, 0, 0, 0), (0, 0, 150, 0)])
    def test_a_few_dark_lines_and_half_a_picture(self, bars: Bars) -> None:
        assert find_content(film(bars)) == Content()

    @pytest.mark.parametrize("rate", [0.3, 1.0, 3.0])
    def test_a_ceiling_that_gets_lost_in_the_dark(self, rate: float) -> None:
        """A static view: the upper quarter is black from end to end in every picture."""
        light = np.clip((np.arange(HEIGHT) - HEIGHT / 4) * rate, 0, 200)
        room = np.broadcast_to(light[:, None, None], (HEIGHT, WIDTH, 3)).astype(np.uint8)
        assert room[: HEIGHT // 4].max() == 0
        assert find_content(noisy(room, 1, seed) for seed in range(8)) == Content()

    def test_a_black_sky_over_roofs(self) -> None:
        night = barred(scenery(1) // 2 + 60, (40, 0, 0, 0))
        for column in range(0, WIDTH, 20):
            night[: 40 + (column * 7) % 60, column : column + 20] = 0
        assert find_content([night] * 4) == Content()

    def test_a_ceiling_that_is_dark_but_shows_its_lamps(self) -> None:
        room = scenery(1) // 2 + 60
        room[:40] = 5
        room[10:20, 60:90] = 220
        assert find_content([room] * 4) == Content()

    def test_a_dark_grey_wall(self) -> None:
        assert find_content([barred(scenery(1), (40, 0, 0, 0), black=32)]) == Content()

    def test_pictures_are_taken_only_while_there_is_doubt(self) -> None:
        taken: list[int] = []

        def pictures() -> Iterator[Picture]:
            for number in range(9):
                taken.append(number)
                yield scenery(number) if number >= 2 else np.zeros((HEIGHT, WIDTH, 3), np.uint8)

        assert find_content(pictures()) == Content()
        assert taken == [0, 1, 2], "two black pictures, and one that reaches all borders"

    def test_real_films_have_none(self, shared: Path) -> None:
        for name in ("lady-running.mp4", "nasa_13013.mp4", "sample.avi"):
            source = open_source(shared / "data" / "videos_a" / name, SamplingSettings(end=2.0))
            assert find_content(source.picture(eighth / 4) for eighth in range(8)) == Content(), name


@st.composite
def contents(draw: st.DrawFn) -> Content:
    top, left = draw(st.integers(0, 40)), draw(st.integers(0, 60))
    bottom, right = draw(st.integers(0, 40)), draw(st.integers(0, 60))
    return Content(top / 101, 1 - bottom / 101, left / 137, 1 - right / 137)


class TestContent:
    @given(contents())
    def test_depth_of_the_content_comes_back_to_its_place(self, content: Content) -> None:
        depth = np.random.default_rng(0).uniform(1, 9, (101, 137)).astype(np.float32)
        rows, columns = content.box(101, 137)
        back = content.padded(depth[rows, columns], 101, 137)
        seen = np.isfinite(back)
        np.testing.assert_array_equal(back[seen], depth[seen])
        assert seen.sum() == (rows.stop - rows.start) * (columns.stop - columns.start)
        inside = round((content.bottom - content.top) * 101), round((content.right - content.left) * 137)
        assert content.cropped(np.zeros((101, 137, 3), np.uint8)).shape[:2] == inside

    @given(contents(), st.integers(-50, 50), st.integers(-50, 50))
    def test_a_point_is_seen_at_the_same_place_by_both_cameras(self, content: Content, x: int, y: int) -> None:
        whole = Intrinsics(120.0, 118.0, 70.0, 49.0, 137, 101)
        inner = content.inner_camera(whole)
        point = np.array([[x / 20, y / 20, 4.0]])
        rows, columns = content.box(101, 137)
        np.testing.assert_allclose(project(point, inner)[0] + (columns.start, rows.start), project(point, whole)[0])
        assert (inner.height, inner.width) == (rows.stop - rows.start, columns.stop - columns.start)
        assert content.whole_camera(inner, 101, 137) == whole

    @given(contents(), st.integers(20, 120), st.integers(20, 120))
    def test_no_pixel_of_a_map_that_touches_a_bar_is_kept(self, content: Content, height: int, width: int) -> None:
        assume(content.bars)
        kept = np.isfinite(content.without_bars(np.ones((height, width), np.float32)))
        rows, columns = np.nonzero(kept)
        assert rows.size
        assert rows.min() / height >= content.top - 1e-9
        assert (rows.max() + 1) / height <= content.bottom + 1e-9
        assert columns.min() / width >= content.left - 1e-9
        assert (columns.max() + 1) / width <= content.right + 1e-9

    def test_without_bars_everything_stays(self) -> None:
        values = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
        camera = Intrinsics(120.1, 118.3, 4.7, 3.3, 9, 7)
        np.testing.assert_array_equal(Content().without_bars(values), values)
        assert Content().inner_camera(camera) == camera == Content().whole_camera(camera, 7, 9)
        assert not Content().bars

    def test_what_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="within the picture"):
            Content(top=0.6, bottom=0.5)
        with pytest.raises(ValueError, match="size of the content"):
            Content(top=0.5).padded(np.ones((9, 9), np.float32), 10, 10)

    def test_a_sentence(self) -> None:
        assert Content(top=0.125, right=0.9).sentence == "12.5% at the top, 10.0% at the right removed"


OFF_CENTRE: Bars = (40, 20, 0, 0)
"""One bar wider than the other, so that the middle of the content is not that of the picture."""


class Camera70:
    """A ``MetricNetwork`` for content of 120 x 320: 70 degrees, and depth that counts the rows of what it sees."""

    metric = True
    identity = {"name": "70"}  # noqa: RUF012 - a constant

    def __init__(self) -> None:
        self.told: list[float | None] = []

    def __call__(self, picture: Picture, fov_x: float | None) -> MetricPicture:
        self.told.append(fov_x)
        height, width = picture.shape[:2]
        assert (height, width) == (120, 320), "bars were shown to the network"
        depth = np.broadcast_to(np.arange(1, 121, dtype=np.float32)[:, None], (height, width))
        return MetricPicture(depth, Intrinsics.from_fov(fov_x or 70.0, width, height))


class Rows:
    """``DepthMaps`` at the size of the picture, whose disparity counts the rows from below."""

    quantity: Quantity = "disparity"
    frame_count = 8
    shots = (ShotSpan(0, 0, 8),)

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        values = np.broadcast_to(np.arange(HEIGHT, 0, -1, dtype=np.float32)[:, None], (HEIGHT, WIDTH))
        return (DepthEstimate(index, index / 25, 0, values) for index in range(start, 8))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    bright = [barred(scenery(seed) // 2 + 110, OFF_CENTRE) for seed in range(8)]
    return write_clip(tmp_path / "film.mp4", map(rgb_frame, bright), options={"crf": "10"})


class TestInARun:
    content = Content(top=40 / 180, bottom=160 / 180)

    def test_the_camera_is_measured_within_the_bars(self, clip: Path) -> None:
        network: MetricNetwork = Camera70()
        source = open_source(clip, SamplingSettings())
        pictures = partial(pipeline.spread_pictures, source, Rows(), 2)
        measured = partial(pipeline._measured, source, lambda: network, self.content, pictures, Unobserved())
        camera = pipeline.find_camera(source, None, measured)
        inner = Intrinsics.from_fov(70.0, 320, 120)
        assert camera.intrinsics == Intrinsics(inner.fx, inner.fy, 160.0, 100.0, 320, 180)
        assert camera.origin == "MoGe, median of 2 frames"

    def test_the_anchor_says_nothing_of_the_bars_and_rows_stay_in_place(self, clip: Path) -> None:
        network = Camera70()
        whole = self.content.whole_camera(Intrinsics.from_fov(70.0, 320, 120), 180, 320)
        eye = MetricEye(network, open_source(clip, SamplingSettings()), self.content)
        anchor = MetricPictures(eye, None, "MoGe")
        [seen] = anchor.correspondences(ContentMaps(Rows(), self.content), Rows.shots[0], lambda: whole)
        assert network.told == [pytest.approx(70.0)]
        row_of_disparity, row_of_depth = HEIGHT - seen.disparity, 1 / seen.inverse_depth - 1 + 40
        np.testing.assert_allclose(row_of_disparity, row_of_depth, atol=1e-4)
        assert row_of_disparity.min() >= 42
        assert row_of_disparity.max() <= 157

    def test_bars_never_become_points(
        self, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        class Fine(Brightness):
            def output_size(self, height: int, width: int) -> tuple[int, int]:
                return height // 2, width // 2

        monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Fine())
        monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: None)
        order = ["pointcloud", str(clip), "-o", str(tmp_path / "cloud.ply"), "--static", "--fov", "60"]
        assert run(order) == 0
        assert read_ply(tmp_path / "cloud.ply").colors.max(axis=1).min() > 60
        assert "% at the top, " in capfd.readouterr().err
        assert "content:\n" in (tmp_path / "cloud.ply.yaml").read_text()
        monkeypatch.setattr(pipeline, "find_content", lambda _: Content())
        assert run(order) == 0
        assert read_ply(tmp_path / "cloud.ply").colors.max(axis=1).min() < 10, "else the test could not fail"
        assert "letterbox" not in capfd.readouterr().err
