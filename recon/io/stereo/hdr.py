"""The figures that go with HDR10: the display on which a film was graded, and how bright it gets."""

import struct
from dataclasses import dataclass
from fractions import Fraction

Chromaticity = tuple[Fraction, Fraction]
"""(x, y) of CIE 1931."""

_COLOUR_STEP = Fraction(1, 50000)
_LIGHT_STEP = Fraction(1, 10000)


@dataclass(frozen=True, slots=True)
class Mastering:
    """SMPTE ST 2086: the mastering display."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity
    darkest: Fraction
    """cd/m2."""
    brightest: Fraction
    """cd/m2."""


@dataclass(frozen=True, slots=True)
class Light:
    """CTA-861.3: content light levels, cd/m2."""

    most: int
    """MaxCLL: of the brightest pixel."""
    average: int
    """MaxFALL: of the brightest frame."""


@dataclass(frozen=True, slots=True)
class Hdr10:
    """What is known of a film."""

    mastering: Mastering | None = None
    light: Light | None = None


def mastering_from_ffmpeg(data: bytes) -> Mastering | None:
    """FFmpeg's ``AVMasteringDisplayMetadata``: red, green, blue, white, min, max as fractions, and what of it holds."""
    numbers = struct.unpack("=22i", data[:88])
    if not (numbers[20] and numbers[21]):
        return None
    fractions = [Fraction(numbers[i], numbers[i + 1] or 1) for i in range(0, 20, 2)]
    red, green, blue, white, lights = (
        (fractions[0], fractions[1]),
        (fractions[2], fractions[3]),
        (fractions[4], fractions[5]),
        (fractions[6], fractions[7]),
        (fractions[8], fractions[9]),
    )
    return Mastering(red, green, blue, white, *lights)


def light_from_ffmpeg(data: bytes) -> Light:
    """FFmpeg's ``AVContentLightMetadata``."""
    return Light(*struct.unpack("=2I", data[:8]))


def mastering_bytes(mastering: Mastering) -> bytes:
    """As in the SEI message (H.265 section D.2.28) and the box ``mdcv`` (ISO/IEC 14496-12 section 12.1.7)."""
    points = (mastering.green, mastering.blue, mastering.red, mastering.white)
    codes = [round(value / _COLOUR_STEP) for point in points for value in point]
    lights = (round(mastering.brightest / _LIGHT_STEP), round(mastering.darkest / _LIGHT_STEP))
    return struct.pack(">8H2I", *codes, *lights)


def light_bytes(light: Light) -> bytes:
    """As in the SEI message (H.265 section D.2.35) and the box ``clli``."""
    return struct.pack(">2H", min(light.most, 65535), min(light.average, 65535))


def svt_options(hdr: Hdr10) -> dict[str, str]:
    """Options of SVT-AV1 that write it into the stream."""
    options = {}
    if hdr.mastering is not None:
        m = hdr.mastering
        points = {"G": m.green, "B": m.blue, "R": m.red, "WP": m.white, "L": (m.brightest, m.darkest)}
        options["mastering-display"] = "".join(
            f"{name}({float(x):.4f},{float(y):.4f})" for name, (x, y) in points.items()
        )
    if hdr.light is not None:
        options["content-light"] = f"{hdr.light.most},{hdr.light.average}"
    return options


__all__ = [
    "Hdr10",
    "Light",
    "Mastering",
    "light_bytes",
    "light_from_ffmpeg",
    "mastering_bytes",
    "mastering_from_ffmpeg",
    "svt_options",
]
