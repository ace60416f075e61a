"""What `recon stereo3d --verify` makes of films whose eyes are the right way round, and of others."""

from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from recon.io.pictures import read_picture
from recon.io.stereo.names import named
from recon.pipelines.stereo_verify import CLEAR, CLEAR_WOVEN, verified
from recon.stages.stereo import Packing, packed
from recon.types import Layout, PairLayout
from recon_cli.cli import run

ROOM = Path(__file__).resolve().parents[1] / "samples" / "room"
WOVEN: list[Layout] = ["row-interlaced", "column-interlaced", "checkerboard"]
PAIRS = [f"older/{name}" for name in ("Aloe", "Art", "Dolls", "Reindeer", "Wood2")] + [
    f"trainingQ/{name}" for name in ("Adirondack", "Motorcycle", "Piano", "Playroom", "Teddy")
]


def recon(*tokens: object) -> int:
    return run([*map(str, tokens), "--quiet"])


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("room") / "room.mp4"
    few = ["--depth", ROOM / "depth", "--end", "0.5", "--holes", "picture"]
    assert recon("stereo3d", ROOM / "room.mp4", *few, "-o", output) == 0
    return output


def test_right_and_swapped_eyes_are_told(room: Path, tmp_path: Path) -> None:
    assert verified(room).swapped is False
    crossed, swapped = tmp_path / "crossed.mp4", tmp_path / "wrong.mp4"
    assert recon("stereo3d", room, "--from-layout", "full-sbs", "--layout", "cross-eyed", "-o", crossed) == 0
    assert recon("stereo3d", crossed, "--from-layout", "full-sbs", "-o", swapped) == 0
    assert verified(swapped).swapped is True
    assert any("SWAPPED" in text for _, text in verified(swapped).rows)


@pytest.mark.parametrize("layout", [layout for layout in get_args(PairLayout) if layout != "full-sbs"])
def test_no_layout_of_a_right_film_is_called_swapped(room: Path, tmp_path: Path, layout: Layout) -> None:
    """Least of all a woven one, of which half is interpolated and colours are shared."""
    film = named(tmp_path / "film.mp4", layout, "plain", ".mp4")
    assert recon("stereo3d", room, "--from-layout", "full-sbs", "--layout", layout, "-o", film) == 0
    verdict = verified(film)
    assert verdict.order is not None
    assert not verdict.swapped
    assert verdict.least >= (CLEAR_WOVEN if layout in WOVEN else CLEAR)


@pytest.mark.parametrize("layout", ["half-sbs", "half-tb"])
def test_squeezed_eyes_are_called_so_and_measured_in_their_own_shape(
    room: Path, tmp_path: Path, layout: Layout
) -> None:
    """Matroska says that their pixels are twice as wide or high: who goes on needs `--from-layout half-...`."""
    film = tmp_path / "film.mkv"
    assert recon("stereo3d", room, "--from-layout", "full-sbs", "--layout", layout, "-o", film) == 0
    verdict, whole = verified(film), verified(room)
    assert verdict.signals.layout == verdict.seen == layout
    assert verdict.parallax == pytest.approx(whole.parallax, abs=0.004)


@pytest.mark.shared
@pytest.mark.parametrize("name", PAIRS)
def test_real_eyes_are_right_and_clear(name: str, shared: Path, tmp_path: Path) -> None:
    """And never swapped where they are woven, though not always clear; swapped ones are told."""
    folder, files = shared / "data" / "middlebury_a" / name, ("im0.png", "im1.png")
    left, right = (read_picture(folder / file) for file in (("view1.png", "view5.png") if "older" in name else files))
    rows, columns = (length // 4 * 4 for length in left.shape[:2])
    left, right = left[:rows, :columns], right[:rows, :columns]

    def told(one: np.ndarray, other: np.ndarray, layout: Layout) -> bool | None:
        file = named(tmp_path / "pair.png", layout, "plain", ".png")
        cv2.imwrite(str(file), cv2.cvtColor(packed(one, other, Packing(layout))[0], cv2.COLOR_RGB2BGR))
        return verified(file).swapped

    assert told(left, right, "full-sbs") is False
    assert told(right, left, "full-sbs") is True
    assert not told(left, right, "row-interlaced")
    assert not told(left, right, "checkerboard")
