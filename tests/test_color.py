"""Colours: every patch is compared with arithmetic written here from the standards, not with another converter."""

import math
from pathlib import Path

import av
import numpy as np
import pytest
from clips import rgb_frame, write_clip, yuv_frame
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import VideoError
from recon.io.color import coding_of, picture_from_frame, rolled_off
from recon.io.video import open_source
from recon.light import nits_of_pq, pq_of_nits, scene_light_of_hlg
from recon.settings import SamplingSettings

# H.273 table 4: AVColorSpace number -> (Kr, Kb)
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
PATCHES = [(255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 30, 40), (20, 180, 60), (30, 50, 210), (180, 160, 20)]
PQ, HLG, BT2020 = 16, 18, 9
TEN_BIT = "yuv420p10le"


def yuv_codes(rgb: tuple[float, ...], matrix: int, *, full: bool, bits: int = 8) -> tuple[int, int, int]:
    """Digital Y'CbCr of R'G'B' in [0, 1]: BT.601, BT.709 and BT.2020, section "digital representation"."""
    kr, kb = WEIGHTS[matrix]
    red, green, blue = rgb
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))]
    step, top = 2 ** (bits - 8), 2**bits - 1
    codes = [top * luma] if full else [step * (16 + 219 * luma)]
    codes += [(top if full else 224 * step) * value + 128 * step for value in chroma]
    return tuple(min(max(round(code), 0), top) for code in codes)


def decoded(path: Path) -> np.ndarray:
    return next(open_source(path, SamplingSettings()).frames()).rgb


def tagged(frame: av.VideoFrame, matrix: int = 2, color_range: int = 0, transfer: int = 2) -> av.VideoFrame:
    frame.colorspace, frame.color_range, frame.color_trc = matrix, color_range, transfer
    return frame


@pytest.mark.parametrize("rgb", PATCHES)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
@pytest.mark.parametrize(("pix_fmt", "bits", "tolerance"), [("yuv420p", 8, 3.5), (TEN_BIT, 10, 1.3)])
def test_patches_of_each_matrix_and_range(
    rgb: tuple[int, ...], matrix: int, pix_fmt: str, bits: int, tolerance: float, *, full: bool
) -> None:
    codes = yuv_codes(tuple(value / 255 for value in rgb), matrix, full=full, bits=bits)
    frame = tagged(yuv_frame(codes, 64, 48, pix_fmt), matrix, 2 if full else 1)
    picture = picture_from_frame(frame, 64, 48)
    assert np.ptp(picture.reshape(-1, 3), axis=0).max() == 0
    assert np.abs(picture[0, 0] - np.array(rgb, float)).max() <= tolerance


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_tags_survive_the_file(tmp_path: Path, matrix: int, *, full: bool) -> None:
    def tags(stream: av.VideoStream) -> None:
        stream.colorspace, stream.color_range = matrix, 2 if full else 1

    rgb = (200, 30, 40)
    frame = yuv_frame(yuv_codes(tuple(value / 255 for value in rgb), matrix, full=full), 64, 48)
    clip = write_clip(tmp_path / "patch.mp4", [frame], adjust=tags, options={"qp": "0"})
    assert np.abs(decoded(clip)[20, 20] - np.array(rgb, float)).max() <= 3.5


@pytest.mark.parametrize(("width", "height", "matrix"), [(1280, 64, 1), (64, 720, 1), (640, 480, 6)])
def test_untagged_is_709_from_hd_size_on_and_601_below(width: int, height: int, matrix: int) -> None:
    codes = yuv_codes((0.8, 0.2, 0.3), matrix, full=False)
    picture = picture_from_frame(tagged(yuv_frame(codes, width, height)), width, height)
    assert picture[5, 5].astype(float) == pytest.approx([204, 51, 76.5], abs=3.5)


def test_untagged_range_is_limited_except_for_yuvj_and_grey() -> None:
    assert not coding_of(tagged(yuv_frame((1, 1, 1), 16, 16))).full_range
    assert coding_of(tagged(yuv_frame((1, 1, 1), 16, 16, "yuvj420p"))).full_range
    assert coding_of(tagged(yuv_frame((77,), 16, 16, "gray"))).full_range
    assert (picture_from_frame(tagged(yuv_frame((77,), 16, 16, "gray")), 16, 16) == 77).all()


def test_rgb_is_left_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    for pix_fmt in ("rgb24", "gbrp", "bgr24"):
        assert np.array_equal(picture_from_frame(rgb_frame(picture).reformat(format=pix_fmt), 48, 32), picture)


def test_odd_sizes_have_no_seam() -> None:
    codes = yuv_codes((0.2, 0.7, 0.4), 1, full=False)
    picture = picture_from_frame(tagged(yuv_frame(codes, 161, 121), 1, 1), 161, 121)
    assert picture.shape == (121, 161, 3)
    assert np.abs(picture - np.array([51, 178.5, 102])).max() <= 2


def test_a_matrix_that_nobody_converts_is_refused() -> None:
    with pytest.raises(VideoError, match=r"colour matrix 14 .*not supported"):
        picture_from_frame(tagged(yuv_frame((1, 1, 1), 16, 16), 14), 16, 16)


# --- high dynamic range ------------------------------------------------------------------------------------------


def pq(nits: float) -> float:
    """SMPTE ST 2084, with the constants in their decimal form."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: float) -> float:
    """Signal that a 1000 cd/m2 HLG display shows as a grey of so many cd/m2: inverse OOTF and OETF, ARIB STD-B67."""
    scene = (nits / 1000) ** (1 / 1.2)
    return math.sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * math.log(12 * scene - 0.28466892) + 0.55991073


def hdr_frame(rgb: tuple[float, float, float], transfer: int) -> av.VideoFrame:
    return tagged(yuv_frame(yuv_codes(rgb, BT2020, full=False, bits=10), 64, 48, TEN_BIT), BT2020, 1, transfer)


def test_the_standard_curves_meet_the_levels_of_bt_2408() -> None:
    """BT.2408 table 1: 18 % grey card 26 cd/m2 at 38 % PQ and HLG; reference white 203 cd/m2 at 58 % PQ, 75 % HLG."""
    assert [round(pq(nits), 2) for nits in (26, 203)] == [0.38, 0.58]
    assert [round(hlg(nits), 2) for nits in (26, 203)] == [0.38, 0.75]
    assert pq_of_nits(np.array([26.0, 203])) == pytest.approx([pq(26), pq(203)], rel=1e-12)
    assert 1000 * scene_light_of_hlg(np.array([hlg(26), hlg(203)])) ** 1.2 == pytest.approx([26, 203], rel=1e-6)


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, pq), (HLG, hlg)])
def test_mid_grey_stays_and_white_leaves_room_for_highlights(transfer: int, signal) -> None:  # noqa: ANN001
    """26 of 203 cd/m2 through BT.1886 is 108; reference white lands at 90 % (BT.2390 roll-off); the peak is 255."""
    greys = [picture_from_frame(hdr_frame((signal(nits),) * 3, transfer), 64, 48)[3, 3] for nits in (0, 26, 203, 1000)]
    assert np.ptp(greys, axis=1).max() <= 1
    assert [int(grey[1]) for grey in greys] == pytest.approx([0, 255 * (26 / 203) ** (1 / 2.4), 230, 255], abs=1.6)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_an_sdr_colour_shown_on_an_hdr_display_comes_back(transfer: int) -> None:
    """A dark BT.709 colour, taken to BT.2020 light by the primaries' chromaticities, ends where it began."""
    sdr = np.array([110, 60, 80])
    nits = 203 * linear_2020_from_709() @ (sdr / 255) ** 2.4
    luminance = nits @ [0.2627, 0.678, 0.0593]
    if transfer == PQ:
        signal = tuple(pq(value) for value in nits)
    else:
        scene = nits / 1000 * (luminance / 1000) ** (1 / 1.2 - 1)
        signal = tuple(hlg(1000 * value**1.2) for value in scene)
    assert picture_from_frame(hdr_frame(signal, transfer), 64, 48)[3, 3].astype(float) == pytest.approx(sdr, abs=2)


def linear_2020_from_709() -> np.ndarray:
    """From the chromaticities of BT.709 and BT.2020 with D65 (SMPTE RP 177)."""

    def xyz_from_rgb(primaries: list[tuple[float, float]]) -> np.ndarray:
        columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
        white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
        return columns * np.linalg.solve(columns, white)

    bt709 = xyz_from_rgb([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)])
    bt2020 = xyz_from_rgb([(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)])
    return np.linalg.inv(bt2020) @ bt709


def test_a_saturated_2020_green_is_clipped_into_709() -> None:
    picture = picture_from_frame(hdr_frame((0.0, pq(100), 0.0), PQ), 64, 48)
    red, green, blue = picture[3, 3]
    assert red == blue == 0
    assert green > 180


def test_hdr_at_an_odd_size_and_stretched() -> None:
    frame = hdr_frame((pq(26),) * 3, PQ)
    picture = picture_from_frame(frame, 97, 48)
    assert picture.shape == (48, 97, 3)
    assert np.abs(picture.astype(int) - 108).max() <= 2


@given(st.floats(0, 10000), st.floats(0, 10000))
def test_roll_off_keeps_order_and_stays_under_white(one: float, other: float) -> None:
    low, high = rolled_off(np.array(sorted([one, other])))
    assert 0 <= low <= high + 1e-9
    assert high <= 203 + 1e-6


@given(st.floats(0, 89))
def test_roll_off_leaves_the_lower_range_alone(nits: float) -> None:
    assert rolled_off(np.array([nits]))[0] == pytest.approx(nits, rel=1e-6, abs=1e-9)


@given(st.floats(0, 1))
def test_pq_is_undone_by_its_inverse(signal: float) -> None:
    assert pq_of_nits(nits_of_pq(np.array([signal])))[0] == pytest.approx(signal, abs=1e-6)


def test_hdr_survives_the_file(tmp_path: Path) -> None:
    def tags(stream: av.VideoStream) -> None:
        stream.colorspace, stream.color_range, stream.color_trc, stream.color_primaries = BT2020, 1, HLG, 9

    frame = hdr_frame((hlg(26),) * 3, HLG)
    clip = write_clip(tmp_path / "hlg.mkv", [frame], codec="ffv1", pix_fmt=TEN_BIT, adjust=tags)
    source = open_source(clip, SamplingSettings())
    assert source.info.notes == ("HDR (HLG) tone-mapped to SDR",)
    assert decoded(clip)[3, 3].astype(float) == pytest.approx([108, 108, 108], abs=1.6)
