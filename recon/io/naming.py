"""Which picture a name in somebody else's file means, and when it was taken."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from recon.errors import TrajectoryError

logger = logging.getLogger(__name__)

_DIGITS = re.compile(r"\d+")


def key_of(name: str) -> str:
    """A picture's name without folders, up to its first dot: ``images/frame-000012.color.png`` -> ``frame-000012``."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].split(".", 1)[0]


def times_of_names(
    names: Sequence[str], times_by_name: Mapping[str, float], rate: float | None, path: Path
) -> dict[int, float]:
    """Seconds for those of ``names`` (row -> time) that belong to the source; pictures it does not have are left out.

    Args:
        names: of pictures, as ``path`` has them.
        times_by_name: for a folder of pictures: ``key_of`` its names -> seconds. Empty for a video.
        rate: for frames that were extracted from a video: how many of them make a second. The number in a name counts
            from 1 as ffmpeg's does, or from 0 where there is a number 0.
        path: of the file, for messages.

    Raises:
        TrajectoryError: no picture of the source is among them, two are the same, or there is no way to find times.
    """
    times = _by_name(names, times_by_name, path) if times_by_name else _by_number(names, rate, path)
    twice = len(times) - len(set(times.values()))
    if twice:
        raise TrajectoryError(
            f"{path}: {twice} of {len(times)} pictures share the time of another one: several cameras?"
        )
    return times


def times_of_rows(count: int, times_by_name: Mapping[str, float], rate: float | None, path: Path) -> list[float]:
    """Seconds for the rows of a file that names neither pictures nor times: by order.

    Raises:
        TrajectoryError: another number of rows than pictures, or a video of which no rate is given.
    """
    if times_by_name:
        if count != len(times_by_name):
            raise TrajectoryError(
                f"{path}: {count} poses for {len(times_by_name)} pictures; without times or names they must be as many"
            )
        return sorted(times_by_name.values())
    return [row / _require_rate(rate, path) for row in range(count)]


def times_of_numbers(
    numbers: Sequence[int], times_by_name: Mapping[str, float], rate: float | None, path: Path
) -> dict[int, float]:
    """Seconds for the rows of a file that has the number, from 0, of the picture or frame of each.

    Raises:
        TrajectoryError: a number that no picture has, or a video of which no rate is given.
    """
    if not times_by_name:
        return {row: number / _require_rate(rate, path) for row, number in enumerate(numbers)}
    times = sorted(times_by_name.values())
    if wrong := [number for number in numbers if not 0 <= number < len(times)]:
        raise TrajectoryError(f"{path}: has a pose for picture {wrong[0]}, but there are {len(times)}, from 0")
    return {row: times[number] for row, number in enumerate(numbers)}


def _by_name(names: Sequence[str], times_by_name: Mapping[str, float], path: Path) -> dict[int, float]:
    times = {row: times_by_name[key] for row, name in enumerate(names) if (key := key_of(name)) in times_by_name}
    if not times:
        raise TrajectoryError(
            f"{path}: none of its {len(names)} pictures ({', '.join(names[:2])}, ...) is among the "
            f"{len(times_by_name)} of the input ({', '.join(list(times_by_name)[:2])}, ...)"
        )
    if len(times) < len(names):
        logger.info("%s: %d of its %d pictures are not among the input's", path, len(names) - len(times), len(names))
    return times


def _by_number(names: Sequence[str], rate: float | None, path: Path) -> dict[int, float]:
    numbers = [int(found[-1]) if (found := _DIGITS.findall(key_of(name))) else None for name in names]
    if None in numbers:
        nameless = names[numbers.index(None)]
        raise TrajectoryError(f"{path}: the name '{nameless}' has no frame number to find its time in the video by")
    first = 0 if 0 in numbers else 1
    logger.info("%s: frame %d of the extracted pictures is taken for the video's first", path, first)
    return {row: (n - first) / _require_rate(rate, path) for row, n in enumerate(numbers) if n is not None}


def _require_rate(rate: float | None, path: Path) -> float:
    if rate is None:
        raise TrajectoryError(f"{path}: has no times; say with --trajectory-rate how many of its poses make a second")
    return rate
