"""Everything that can go wrong with a user's input, in one small tree.

A message says what is wrong, where (file, frame, field), and what to do about it, in one line. The command line prints
it without a traceback and exits with ``exit_code``. Misuse of the Python interface raises ``ValueError`` or
``TypeError`` instead; anything else that escapes is a bug of this project.
"""


class ReconError(Exception):
    """The root: catch this to catch every failure that recon foresees."""

    exit_code = 1


class OptionError(ReconError):
    """Options that contradict each other or make no sense for this input."""

    exit_code = 2


class AlreadyStereoError(OptionError):
    """A film that is 3D already, and nobody said how to take it."""


class VideoError(ReconError):
    """A video, picture or folder of pictures that cannot be read or written."""


class WeightsError(ReconError):
    """Weights that are missing, damaged or do not fit the network."""


class AlignmentError(ReconError):
    """Scale and shift that the data do not determine."""


class CameraError(ReconError):
    """Intrinsics that are missing or contradict the pictures."""


class TrajectoryError(ReconError):
    """Camera poses that are missing, damaged, or do not cover the video."""


class FormatError(ReconError):
    """A file that is not what its name or its reader expects."""


class StoreError(ReconError):
    """A depth store that belongs to another run, is damaged or in use."""


class MissingPackageError(ReconError):
    """An optional package (or a system library that it needs) is not installed."""
