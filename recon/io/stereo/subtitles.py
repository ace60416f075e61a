"""Subtitles that are text, from one container's form to another's."""

import re
import struct

from recon.errors import FormatError

TEXT_CODECS = ("subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text")
"""FFmpeg's names of the codecs that ``plain_text`` reads."""

HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    b"Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, "
    b"MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
"""What FFmpeg's encoders of subtitles begin with: one plain style."""

_ASS_FIELDS = 8
"""Commas before the text of an event in Matroska (ReadOrder, Layer, Style, Name, three margins, Effect)."""
_TAGS = re.compile(r"</?(?:b|i|u|s|c|v|lang|ruby|rt|font)(?:[.\s][^>]*)?>|\{\\[^}]*\}", re.IGNORECASE)


def plain_text(codec: str, packet: bytes) -> str:
    """The words of a subtitle without fonts and colours; empty where nothing is shown.

    Raises:
        FormatError: the subtitle is cut short.
    """
    if codec == "mov_text":
        if len(packet) < 2:
            raise FormatError("a subtitle is cut short: the file is damaged")
        (size,) = struct.unpack_from(">H", packet)
        return packet[2 : 2 + size].decode("utf-8", "replace")
    text = packet.decode("utf-8", "replace").rstrip("\0\r\n")
    if codec in ("ass", "ssa"):
        text = re.sub(r"\{[^}]*\}", "", text.split(",", _ASS_FIELDS)[-1])
        return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", "\u00a0")
    return _TAGS.sub("", text)


def mov_text(text: str) -> bytes:
    """A sample of 3GPP timed text (TS 26.245 section 5.17.1): its length, then UTF-8."""
    data = text.encode()[:65535]
    return struct.pack(">H", len(data)) + data


__all__ = ["HEADER", "TEXT_CODECS", "mov_text", "plain_text"]
