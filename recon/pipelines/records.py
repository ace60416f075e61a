"""What stands beside a result: the settings that made it, and what was found out on the way (``RESULT.yaml``)."""

from collections.abc import Mapping
from pathlib import Path

from recon.io.cloud import Up, axes_comment
from recon.settings import read_yaml
from recon.types import Intrinsics

_LENS = ("fx", "fy", "cx", "cy", "width", "height")
_UPS: tuple[Up, ...] = ("z", "y", "camera")


def record_beside(result: Path) -> dict[str, object]:
    """The settings and facts that recon wrote beside a result; empty where there are none.

    Raises:
        OptionError: the file there is not YAML.
    """
    path = result.with_name(f"{result.name}.yaml")
    return read_yaml(path) if path.is_file() else {}


def block(record: Mapping[str, object], name: str) -> Mapping[str, object]:
    """One part of a record; empty where there is none."""
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def told_axes(record: Mapping[str, object]) -> Up | None:
    """The axes in which a result stands."""
    told = f"axes: {block(record, 'provenance').get('axes')}"
    return next((up for up in _UPS if axes_comment(up) == told), None)


def told_camera(record: Mapping[str, object]) -> Intrinsics | None:
    """The lens of the pictures."""
    camera = block(block(record, "provenance"), "camera")
    values = [camera.get(name) for name in _LENS]
    fx, fy, cx, cy, width, height = (float(each) if isinstance(each, int | float) else 0.0 for each in values)
    return Intrinsics(fx, fy, cx, cy, int(width), int(height)) if min(fx, fy, width, height) > 0 else None
