"""Two eyes in one picture and back: nothing is swapped, nothing is dropped, grey stays grey."""

from collections.abc import Callable
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import OptionError
from recon.light import linear_from_srgb, nits_of_pq, scene_light_of_hlg
from recon.stages.stereo.layouts import _DUBOIS, SIZES, Dome, Packing, anaglyph, grey, packed, rgbd, unpacked
from recon.types import HDMI_EYES, METHODS, Colours, Layout, Method, PairLayout

SPATIAL: tuple[Layout, ...] = (
    "full-sbs",
    "half-sbs",
    "full-tb",
    "half-tb",
    "row-interlaced",
    "column-interlaced",
    "checkerboard",
    "cross-eyed",
)
WHOLE: tuple[Layout, ...] = ("full-sbs", "full-tb", "cross-eyed")
ANAGLYPHS = [(colours, method) for colours, methods in METHODS.items() for method in methods]
WITHOUT_A_PRIMARY = {"red-green": 2, "red-blue": 1}


def smooth(seed: int, height: int = 48, width: int = 64, bits: int = 8) -> np.ndarray:
    """Blobs of all colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.float32)
    blobs = np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255)
    return np.rint(blobs).astype(np.uint8) if bits == 8 else np.rint(blobs * 257).astype(np.uint16)


def plain(value: int, height: int = 12, width: int = 16, dtype: str = "uint8") -> np.ndarray:
    return np.full((height, width, 3), value, dtype)


# ------------------------------------------------------------------------------------------------- together and apart


@pytest.mark.parametrize("layout", SPATIAL)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_eyes_come_back_as_they_were_and_not_swapped(layout: Layout, dtype: str) -> None:
    left, right = plain(50, dtype=dtype), plain(200, dtype=dtype)
    (both,) = packed(left, right, Packing(layout))
    assert both.dtype == dtype
    for eye, back in zip((left, right), unpacked(both, layout), strict=True):
        assert back.shape == eye.shape
        assert (back == eye).all()


@given(st.sampled_from(SPATIAL), st.integers(0, 1000), st.sampled_from([8, 16]))
def test_smooth_pictures_survive_every_layout(layout: Layout, seed: int, bits: int) -> None:
    left, right = smooth(seed, bits=bits), smooth(seed + 1, bits=bits)
    back = unpacked(packed(left, right, Packing(layout))[0], layout)
    for eye, again in zip((left, right), back, strict=True):
        if layout in WHOLE:
            assert (again == eye).all()
        else:
            error = np.abs(again.astype(float) - eye).mean() / np.iinfo(eye.dtype).max
            assert error < 0.01


@pytest.mark.parametrize(
    ("layout", "where"),
    [
        ("full-sbs", np.s_[0, 0]),
        ("half-sbs", np.s_[0, 0]),
        ("full-tb", np.s_[0, 0]),
        ("half-tb", np.s_[0, 0]),
        ("row-interlaced", np.s_[0, 5]),
        ("column-interlaced", np.s_[5, 0]),
        ("checkerboard", np.s_[1, 1]),
        ("cross-eyed", np.s_[0, -1]),
    ],
)
def test_where_the_left_eye_is(layout: Layout, where: tuple[int, int]) -> None:
    (both,) = packed(plain(255), plain(0), Packing(layout))
    assert (both[where] == 255).all()
    assert (both == 255).mean() == 0.5


@pytest.mark.parametrize(
    ("layout", "size"), [("full-sbs", (12, 32)), ("half-sbs", (12, 16)), ("full-tb", (24, 16)), ("half-tb", (12, 16))]
)
def test_sizes(layout: Layout, size: tuple[int, int]) -> None:
    assert packed(plain(1), plain(2), Packing(layout))[0].shape[:2] == size


@given(st.sampled_from([*SPATIAL, "anaglyph", "separate", "wiggle"]), st.integers(5, 20), st.integers(5, 20))
def test_every_eye_has_an_even_size_whatever_came(layout: Layout, height: int, width: int) -> None:
    eye = smooth(1, height, width)
    for picture in packed(eye, eye, Packing(layout)):
        rows, columns = picture.shape[:2]
        assert rows % 2 == columns % 2 == 0
        if "sbs" in layout:
            assert columns % 4 == 0
        if "tb" in layout:
            assert rows % 4 == 0
    assert set(SIZES) <= set(get_args(Layout))


def test_what_is_added_for_an_even_size_repeats_the_border() -> None:
    eye = smooth(3, 11, 13)
    left, _ = packed(eye, eye, Packing("separate"))
    assert left.shape == (12, 14, 3)
    assert (left[:11, :13] == eye).all()
    assert (left[11, :13] == eye[10]).all()


def test_halves_are_averaged_and_not_dropped() -> None:
    """Stripes one pixel wide: dropped they would be all black or all white."""
    stripes = plain(0)
    stripes[:, ::2] = 200
    assert (packed(stripes, stripes, Packing("half-sbs"))[0] == 100).all()
    lines = plain(0)
    lines[::2] = 200
    assert (packed(lines, lines, Packing("half-tb"))[0] == 100).all()
    inner = packed(lines, lines, Packing("row-interlaced"))[0][1:-1]
    assert (inner == 100).all()


def test_eyes_on_their_own() -> None:
    left, right = smooth(1), smooth(2)
    for layout in ("separate", "wiggle"):
        how = Packing(layout)
        assert how.pictures == 2
        assert all((a == b).all() for a, b in zip(packed(left, right, how), (left, right), strict=True))


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(ValueError, match="eyes differ"):
        packed(plain(1), plain(1, dtype="uint16"), Packing())
    with pytest.raises(ValueError, match="rgbd"):
        packed(plain(1), plain(1), Packing("rgbd"))
    with pytest.raises(ValueError, match="cannot be taken apart"):
        unpacked(plain(1), "anaglyph")
    with pytest.raises(OptionError, match="two eyes do not lie in 15 x 12 pixels as full-sbs"):
        unpacked(plain(1, width=15), "full-sbs")
    with pytest.raises(ValueError, match="field of view"):
        Packing("vr180", fov_x=180.0)
    with pytest.raises(ValueError, match="aspect of 0"):
        Packing("vr180", pixel_aspect=0.0)
    with pytest.raises(ValueError, match="no anaglyph"):
        Packing("anaglyph", colours="amber-blue", method="optimized")


# -------------------------------------------------------------------------------------------------- HDMI frame packing


@pytest.mark.parametrize(("height", "width", "rows"), [(1080, 1920, 2205), (720, 1280, 1470)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_hdmi_frame_packing_is_that_of_the_standard(height: int, width: int, rows: int, dtype: str) -> None:
    """HDMI 1.4a, section 8.2.3.2: twice the active rows, and as many between them as the format has blank ones."""
    left, right = plain(50, height, width, dtype), plain(200, height, width, dtype)
    (both,) = packed(left, right, Packing("hdmi-frame-packing"))
    assert both.shape == (rows, width, 3)
    assert (both[:height] == 50).all()
    assert (both[height:-height] == 0).all()
    assert (both[-height:] == 200).all()
    for eye, back in zip((left, right), unpacked(both, "hdmi-frame-packing"), strict=True):
        assert (back == eye).all()
    even = cv2.copyMakeBorder(both, 0, rows % 2, 0, 0, cv2.BORDER_REPLICATE)  # as codecs need it
    assert (unpacked(even, "hdmi-frame-packing")[1] == right).all()


@given(st.integers(40, 2400), st.integers(40, 1300), st.sampled_from([1.0, 16 / 15, 0.5]))
def test_hdmi_cuts_nothing_off_and_keeps_shapes(width: int, height: int, aspect: float) -> None:
    eye = plain(200, height, width)
    (both,) = packed(eye, eye, Packing("hdmi-frame-packing", pixel_aspect=aspect))
    assert both.shape[:2] == ((1470, 1280) if width * aspect <= 1280 and height <= 720 else (2205, 1920))
    for shown in unpacked(both, "hdmi-frame-packing"):
        assert shown.shape[1::-1] in HDMI_EYES
        lit = shown[..., 0] > 0
        rows, columns = lit.any(axis=1), lit.any(axis=0)
        assert (lit == np.outer(rows, columns)).all()
        assert rows.all() or columns.all(), "as large as fits"
        share = width * aspect / height
        assert abs(columns.sum() - rows.sum() * share) <= 0.5 * (1 + share)
        for side in (rows, columns):  # in the middle
            places = np.flatnonzero(side)
            assert abs(places[0] - (len(side) - 1 - places[-1])) <= 1


def test_every_pair_layout_can_be_taken_apart() -> None:
    assert {*SPATIAL, "hdmi-frame-packing"} == set(get_args(PairLayout))
    with pytest.raises(OptionError, match=r"1280 x 1470 or 1920 x 2205 pixels, not 16 x 12"):
        unpacked(plain(1), "hdmi-frame-packing")


# ----------------------------------------------------------------------------------------------------------- anaglyphs


@pytest.mark.parametrize(("colours", "method"), ANAGLYPHS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_stays_grey(colours: Colours, method: Method, dtype: str) -> None:
    steps = np.linspace(0, np.iinfo(dtype).max, 256).round().astype(dtype)
    grey = np.broadcast_to(steps[None, :, None], (2, 256, 3)).copy()
    made = anaglyph(grey, grey, colours, method)
    allowed = 0 if dtype == "uint8" else 16  # of 65535
    shown = [primary for primary in range(3) if primary != WITHOUT_A_PRIMARY.get(colours)]
    assert np.abs(made.astype(int) - grey)[..., shown].max() <= allowed


@pytest.mark.parametrize(("colours", "method"), ANAGLYPHS)
def test_each_eye_is_seen_through_its_own_filter(colours: Colours, method: Method) -> None:
    """Only the left eye is lit: the primaries of its filter are bright, the others (nearly) dark."""
    first = {"green-magenta": [1], "amber-blue": [0, 1]}.get(colours, [0])
    second = [primary for primary in range(3) if primary not in (*first, WITHOUT_A_PRIMARY.get(colours))]
    for left, right, bright, dark in ((255, 0, first, second), (0, 255, second, first)):
        colour = anaglyph(plain(left), plain(right), colours, method)[0, 0]
        assert colour[bright].min() > 220
        assert colour[dark].max() < 120
        assert method == "dubois" or (colour[dark].max() == 0 and colour[bright].min() == 255)


def test_grey_anaglyph_is_the_luma_of_opencv() -> None:
    left, right = smooth(1), smooth(2)
    made = anaglyph(left, right, "red-cyan", "gray").astype(int)
    for eye, primaries in ((left, [0]), (right, [1, 2])):
        luma = cv2.cvtColor(eye, cv2.COLOR_RGB2GRAY).astype(int)
        assert np.abs(made[..., primaries] - luma[..., None]).max() <= 1


def test_colour_anaglyph_takes_primaries_as_they_are() -> None:
    left, right = smooth(1, bits=16), smooth(2, bits=16)
    made = anaglyph(left, right, "green-magenta", "color")
    assert (made[..., 1] == left[..., 1]).all()
    assert (made[..., [0, 2]] == right[..., [0, 2]]).all()


def test_half_colour_has_the_luma_of_one_eye_and_the_colours_of_the_other() -> None:
    left, right = smooth(1), smooth(2)
    red_cyan = anaglyph(left, right, "red-cyan", "half-color")
    assert np.abs(red_cyan[..., 0].astype(int) - cv2.cvtColor(left, cv2.COLOR_RGB2GRAY)).max() <= 1
    assert (red_cyan[..., 1:] == right[..., 1:]).all()
    amber_blue = anaglyph(left, right, "amber-blue", "half-color")
    assert (amber_blue[..., :2] == left[..., :2]).all()


def test_dubois_is_least_squares_over_the_spectra_of_his_paper() -> None:
    """ICASSP 2001: XYZ of the phosphors, and of the phosphors behind the red and the cyan filter."""
    screen = [[11.6638, 8.3959, 4.65843], [7.10807, 16.6845, 2.45008], [0.527874, 3.79124, 24.0604]]
    red = [[5.42327, 0.807004, 0.047325], [2.70972, 0.50201, 0.0250529], [0.0000550941, 0.000411221, 0.00240686]]
    cyan = [[0.180431, 1.6395, 2.00309], [0.448214, 6.31551, 1.35757], [0.289201, 2.3925, 11.062]]
    wanted = np.block([[np.array(screen), np.zeros((3, 3))], [np.zeros((3, 3)), np.array(screen)]])
    matrix = np.linalg.lstsq(np.concatenate([red, cyan]), wanted, rcond=None)[0]
    matrix /= matrix.sum(axis=1, keepdims=True)

    left, right = smooth(1), smooth(2)
    light = np.concatenate([linear_from_srgb(left), linear_from_srgb(right)], axis=2) @ matrix.T
    made = linear_from_srgb(anaglyph(left, right, "red-cyan", "dubois"))
    assert np.abs(made - light.clip(0, 1)).max() < 0.006


@pytest.mark.parametrize(("transfer", "most"), [(16, 2), (18, 2)])
def test_grey_of_high_dynamic_range_stays_grey(transfer: int, most: int) -> None:
    steps = np.linspace(0, 65535, 4096).round().astype(np.uint16)
    grey = np.broadcast_to(steps[None, :, None], (2, 4096, 3)).copy()
    for colours in (colours for colours, methods in METHODS.items() if "dubois" in methods):
        made = anaglyph(grey, grey, colours, "dubois", transfer=transfer)
        assert np.abs(made.astype(int) - grey).max() <= most * 65535 / 1023 / 4


@pytest.mark.parametrize(("transfer", "light", "most"), [(16, nits_of_pq, 10000), (18, scene_light_of_hlg, 1)])
def test_high_dynamic_range_is_mixed_as_light(transfer: int, light: Callable[..., np.ndarray], most: float) -> None:
    """The curves of ``recon.io.color`` as oracle; codes as PQ and HLG have them: faces and walls, and a lamp."""
    left, right = (smooth(seed, bits=16) // 2 + 6000 for seed in (1, 2))
    left[10:14, 20:30] = right[10:14, 22:32] = 60000
    made = anaglyph(left, right, "red-cyan", "dubois", transfer=transfer)
    matrix = np.array(_DUBOIS["red-cyan"])
    matrix /= matrix.sum(axis=1, keepdims=True)

    def seen(picture: np.ndarray) -> np.ndarray:
        return (light(picture.reshape(-1) / 65535) / most).reshape(picture.shape)

    wanted = (np.concatenate([seen(left), seen(right)], axis=2) @ matrix.T).clip(0, 1)
    got = seen(made)
    near = np.abs(got - wanted) <= 0.002 * wanted + 1e-7
    assert near.all()
    plainly = anaglyph(left, right, "red-cyan", "dubois")
    assert np.abs(seen(plainly) - wanted).max() > 10 * np.abs(got - wanted).max(), "the curve matters"


@given(st.integers(0, 1000))
def test_more_bits_make_the_same_anaglyph(seed: int) -> None:
    left, right = smooth(seed), smooth(seed + 1)
    for method in ("dubois", "half-color"):
        few = anaglyph(left, right, "red-cyan", method)
        many = anaglyph(*(eye.astype(np.uint16) * 257 for eye in (left, right)), "red-cyan", method)
        assert np.abs(many / 257 - few).max() <= 0.53  # rounding, and steps of light of 16 bits in the dark


# ------------------------------------------------------------------------------------------------------ depth, spheres


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_rgbd_is_white_near_and_black_far(dtype: str) -> None:
    parallax = np.linspace(-0.01, 0.03, 16, dtype=np.float32)[None].repeat(12, axis=0)
    both = rgbd(plain(9, dtype=dtype), parallax, near=-0.01, far=0.03)
    assert both.shape == (12, 32, 3)
    assert (both[:, :16] == 9).all()
    assert (both[0, 16] == np.iinfo(dtype).max).all()
    assert (both[0, -1] == 0).all()
    assert (np.diff(both[0, 16:, 0].astype(int)) < 0).all()
    with pytest.raises(ValueError, match="near < far"):
        rgbd(plain(9), parallax, near=0.0, far=0.0)
    np.testing.assert_array_equal(grey(parallax, -0.01, 0.03, np.dtype(dtype)), both[:, 16:])


def test_sphere_shows_each_direction_where_it_belongs() -> None:
    """A bright spot at known angles is found at those angles: longitude and latitude are even on the sphere."""
    dome = Dome(90.0, 240, 320)
    focal = 160.0
    for longitude, latitude in ((0.0, 0.0), (30.0, 0.0), (-20.0, 15.0), (40.0, -20.0)):
        lon, lat = np.radians([longitude, latitude])
        x, y = focal * np.tan(lon), focal * np.tan(lat) / np.cos(lon)
        rows, columns = np.mgrid[:240, :320] + 0.5
        spot = 255 * np.exp(-((columns - 160 - x) ** 2 + (rows - 120 - y) ** 2) / 18)
        sphere = dome.seen(np.rint(spot).astype(np.uint8)[..., None].repeat(3, axis=2))[..., 0].astype(float)
        places = np.mgrid[: dome.side, : dome.side] + 0.5
        row, column = ((place * sphere).sum() / sphere.sum() for place in places)
        assert (column / dome.side - 0.5) * 180 == pytest.approx(longitude, abs=0.5)
        assert (row / dome.side - 0.5) * 180 == pytest.approx(latitude, abs=0.5)


def test_a_sphere_is_round_whatever_the_shape_of_pixels() -> None:
    """A disc filmed with pixels twice as wide as high is a disc on the sphere."""
    rows, columns = np.mgrid[:240, :160] + 0.5
    disc = ((2 * (columns - 80)) ** 2 + (rows - 120) ** 2 < 900).astype(np.uint8)[..., None].repeat(3, axis=2) * 255
    sphere = Dome(60.0, 240, 160, pixel_aspect=2.0).seen(disc)[..., 0] > 127
    assert sphere.any(axis=0).sum() == pytest.approx(sphere.any(axis=1).sum(), rel=0.05)


def test_vr180_is_two_half_spheres_black_beyond_the_view() -> None:
    left, right = plain(200, 60, 80), plain(100, 60, 80)
    (both,) = packed(left, right, Packing("vr180", fov_x=70.0))
    height, width = both.shape[:2]
    assert width == 2 * height
    eyes = unpacked(both, "vr180")
    for eye, value in zip(eyes, (200, 100), strict=True):
        assert (eye[height // 2, height // 2] == value).all()
        assert (eye[:, 0] == 0).all()
        assert (eye[0] == 0).all()
        seen = eye[height // 2, :, 0] > value / 2
        assert seen.mean() * 180 == pytest.approx(70, abs=2)
