"""Results appear whole or not at all."""

import hashlib
from pathlib import Path

import pytest

from recon.errors import OptionError
from recon.files import partial_of, sha256_of, whole_file, whole_folder


class Interrupted(BaseException):
    """Like Ctrl-C: not an Exception."""


def everything_in(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "cloud.ply"
    with whole_file(target) as partial:
        partial.write_text("new")
        assert not target.exists()
    assert everything_in(tmp_path) == {"cloud.ply": "new"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Interrupted])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "cloud.ply"
    target.write_text("old")
    with pytest.raises(error), whole_file(target) as partial:  # noqa: PT012 - the block is what is tested
        partial.write_text("half")
        raise error
    assert everything_in(tmp_path) == {"cloud.ply": "old"}


def test_debris_of_a_killed_run_is_not_appended_to(tmp_path: Path) -> None:
    target = tmp_path / "cloud.ply"
    partial_of(target).write_text("debris")
    with whole_file(target) as partial:
        assert not partial.exists()
        partial.write_text("new")
    assert everything_in(tmp_path) == {"cloud.ply": "new"}


def test_forgetting_to_write_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "cloud.ply"):
        pass


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out" / "depth"
    for content in ("one", "two"):
        with whole_folder(target) as partial:
            (partial / "deep").mkdir()
            (partial / "deep" / f"{content}.txt").write_text(content)
    assert everything_in(tmp_path) == {"out/depth/deep/two.txt": "two"}
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["depth"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Interrupted])
def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "depth"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with pytest.raises(error), whole_folder(target) as partial:  # noqa: PT012 - the block is what is tested
        (partial / "new.txt").write_text("new")
        raise error
    assert everything_in(tmp_path) == {"depth/old.txt": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["depth"]


def test_debris_of_a_killed_run_does_not_come_back(tmp_path: Path) -> None:
    target = tmp_path / "depth"
    partial_of(target).mkdir()
    (partial_of(target) / "debris.txt").write_text("debris")
    with whole_folder(target) as partial:
        (partial / "new.txt").write_text("new")
    assert everything_in(tmp_path) == {"depth/new.txt": "new"}


def test_a_folder_is_not_lost_when_a_run_is_killed_between_two_renames(tmp_path: Path) -> None:
    (tmp_path / "depth.old").mkdir()
    (tmp_path / "depth.old" / "old.txt").write_text("old")
    with pytest.raises(Interrupted), whole_folder(tmp_path / "depth"):
        raise Interrupted
    assert everything_in(tmp_path) == {"depth/old.txt": "old"}


def test_only_a_folder_with_the_marker_is_replaced(tmp_path: Path) -> None:
    """`recon depth -o ~/Pictures` must not cost anybody their pictures."""
    target = tmp_path / "pictures"
    target.mkdir()
    with whole_folder(target, marker="depth.json") as partial:  # empty: nothing to lose
        (partial / "depth.json").write_text("{}")
    with whole_folder(target, marker="depth.json") as partial:  # made by us
        (partial / "holiday.jpg").write_text("!")
    with (
        pytest.raises(OptionError, match=r"pictures: holds something else \(no depth.json there\)"),
        whole_folder(target, marker="depth.json"),
    ):
        pytest.fail("the block must not begin")
    assert everything_in(tmp_path) == {"pictures/holiday.jpg": "!"}


def test_a_file_is_never_replaced_by_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "depth"
    target.write_text("a file")
    with pytest.raises(OptionError, match="holds something else"), whole_folder(target):
        pytest.fail("the block must not begin")
    assert target.read_text() == "a file"


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"recon" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"recon" * 100_000).hexdigest()
