"""How the files of poses that recon writes are called: their endings, what stands beside them, and their pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from recon.errors import OptionError

Kind = Literal["tum", "kitti", "transforms", "colmap", "colmap-text"]


class Layout(NamedTuple):
    """What a format is on the disk."""

    kind: Kind
    suffixes: tuple[str, ...]
    """Endings of its file; none for a folder."""
    default: str
    """The output where the user names none; {} is the video."""
    beside: tuple[str, ...] = ()
    """What each of its files has beside it: endings in place of its own."""
    names_pictures: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, not a file."""
        return not self.suffixes

    def files(self, path: Path) -> list[Path]:
        """A file of this format, and those beside it."""
        return [path, *(path.with_name(path.stem + ending) for ending in self.beside)]

    def pictures(self, output: Path) -> Path:
        """Folder of the pictures of a result: its own, so that two results in one folder do not share it.

        That of transforms.json is called as nerfstudio calls it.
        """
        if self.is_folder:
            return output / "images"
        return output.with_name("images" if output.stem == "transforms" else f"{output.stem}-images")


_LAYOUTS: Final[Mapping[str, Layout]] = {
    each.kind: each
    for each in (
        Layout("tum", (".tum", ".txt"), "{}.tum"),
        Layout("kitti", (".kitti", ".txt"), "{}.kitti", (".times.txt",)),
        Layout("transforms", (".json",), "{}-poses/transforms.json", (".points.ply",), names_pictures=True),
        Layout("colmap", (), "{}-colmap", names_pictures=True),
        Layout("colmap-text", (), "{}-colmap", names_pictures=True),
    )
}


def layout_of(kind: Kind | Literal["auto"], output: Path | None, *, pictures: bool = False) -> Layout:
    """The format that is asked for, or that the output's name says: TUM for .txt and where there is no name.

    Raises:
        OptionError: the name says no format, or another one than is asked for; or the format names no pictures and
            they are wanted.
    """
    layout = _LAYOUTS[kind] if kind != "auto" else _by_name(output or Path("poses.tum"))
    suffix = None if output is None else output.suffix.lower()
    if suffix is not None and layout.suffixes and suffix not in layout.suffixes:
        raise OptionError(f"{output}: --format {layout.kind} must end in {' or '.join(layout.suffixes)}")
    if pictures and not layout.names_pictures:
        raise OptionError(f"--pictures: {layout.kind} names no pictures; give --format transforms or colmap")
    return layout


def _by_name(output: Path) -> Layout:
    suffix = output.suffix.lower()
    found = next((each for each in _LAYOUTS.values() if suffix in (each.suffixes or ("",))), None)
    if found is None:
        raise OptionError(f"{output}: must end in .tum, .txt, .kitti or .json, or be a folder; or say --format")
    return found
