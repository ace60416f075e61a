"""Supplemental enhancement information of H.264 and HEVC: two eyes in one picture, and HDR10's figures.

Syntax: ITU-T H.264 sections 7.3.1, 7.3.2.3 and D.1.26; ITU-T H.265 sections 7.3.1, 7.3.5 and D.2.16, D.2.28, D.2.35.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from recon.errors import FormatError
from recon.io.stereo.hdr import Hdr10, light_bytes, mastering_bytes
from recon.io.stereo.layout import Arrangement, Packing

NalCodec = Literal["h264", "hevc"]

FRAME_PACKING = 45
MASTERING_DISPLAY = 137
CONTENT_LIGHT = 144

_TYPES: dict[Packing, int] = {"checker": 0, "columns": 1, "rows": 2, "side": 3, "over": 4}
_HEVC_TYPES = (3, 4)
"""H.265 table D.8: 0 to 2 are reserved there."""
_START = re.compile(b"\x00\x00\x01")


class Message(NamedTuple):
    """One SEI message."""

    kind: int
    payload: bytes


def frame_packing(arrangement: Arrangement, codec: NalCodec, *, half: bool) -> Message | None:
    """The message that tells how two eyes lie in a picture; None where the codec has no word for it.

    Args:
        arrangement: of the eyes.
        codec: HEVC's message ends differently, and knows side by side and top and bottom only.
        half: whether each eye is squeezed into half of the picture, so that the picture's sample aspect ratio is that
            of an eye brought back to full size (``upsampled_aspect_ratio_flag``; HEVC only).
    """
    kind = _TYPES[arrangement.packing]
    if codec == "hevc" and kind not in _HEVC_TYPES:
        return None
    quincunx = int(arrangement.packing == "checker")
    bits = "1" + "0" + f"{kind:07b}{quincunx:b}{2 if arrangement.right_first else 1:06b}" + "000000"
    if not quincunx:
        bits += "0000" * 4  # where the samples of an eye lie: on the grid
    bits += "00000000"  # frame_packing_arrangement_reserved_byte
    # From this picture on: H.264's repetition period 1 is 010 in Exp-Golomb, HEVC has a flag for it.
    bits += "010" + "0" if codec == "h264" else "1" + f"{half:b}"
    return Message(FRAME_PACKING, _padded(bits))


def hdr10_messages(hdr: Hdr10) -> tuple[Message, ...]:
    """Mastering display and content light level, where they are known."""
    messages = []
    if hdr.mastering is not None:
        messages.append(Message(MASTERING_DISPLAY, mastering_bytes(hdr.mastering)))
    if hdr.light is not None:
        messages.append(Message(CONTENT_LIGHT, light_bytes(hdr.light)))
    return tuple(messages)


def arrangement_of_packing(payload: bytes) -> Arrangement | None:
    """What a frame packing message says; None if it cancels an earlier one, or the eyes come in turn.

    Raises:
        FormatError: the message is cut short.
    """
    bits = "".join(f"{byte:08b}" for byte in payload)
    zeros = len(bits) - len(bits.lstrip("0"))
    fields = bits[2 * zeros + 1 :]  # behind the number of the arrangement, Exp-Golomb
    if len(fields) < 15 and fields[:1] != "1":
        raise FormatError("a frame packing message is cut short: the video is damaged")
    if fields[0] == "1":
        return None
    kind, meaning = int(fields[1:8], 2), int(fields[9:15], 2)
    packings = {number: packing for packing, number in _TYPES.items()}
    return Arrangement(packings[kind], meaning == 2) if kind in packings else None


def _padded(bits: str) -> bytes:
    """Bits as bytes; where they end inside a byte, a 1 and zeros follow."""
    if len(bits) % 8:
        bits += "1"
        bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def sei_nal(messages: Sequence[Message], codec: NalCodec) -> bytes:
    """A NAL unit that holds messages, without start code or length."""
    body = b"".join(_number(kind) + _number(len(payload)) + payload for kind, payload in messages)
    header = b"\x06" if codec == "h264" else b"\x4e\x01"
    return header + escaped(body + b"\x80")


def _number(value: int) -> bytes:
    return b"\xff" * (value // 255) + bytes([value % 255])


def escaped(payload: bytes) -> bytes:
    """With emulation prevention: no 00 00 00, 00 00 01, 00 00 02 remains; 00 00 03 becomes 00 00 03 03."""
    out, zeros = bytearray(), 0
    for byte in payload:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def unescaped(nal: bytes) -> bytes:
    """Without emulation prevention."""
    out, zeros = bytearray(), 0
    for byte in nal:
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Framing:
    """How a packet is divided into NAL units."""

    codec: NalCodec
    length_size: int
    """Bytes of the length before each NAL unit; 0 where start codes stand between them."""

    @classmethod
    def of(cls, codec: NalCodec, extradata: bytes | None) -> "Framing":
        """As the decoder's configuration says: avcC (ISO/IEC 14496-15 5.3.3) or hvcC (8.3.3); none: start codes."""
        if not extradata or extradata[0] != 1:
            return cls(codec, 0)
        position = 4 if codec == "h264" else 21
        if len(extradata) <= position:
            raise FormatError("the decoder's configuration is cut short: the video is damaged")
        return cls(codec, 1 + (extradata[position] & 3))

    def nals(self, packet: bytes) -> Iterator[bytes]:
        """The NAL units of a packet."""
        for start, end in self._spans(packet):
            yield packet[start:end]

    def inserted(self, packet: bytes, nal: bytes) -> bytes:
        """The packet with a NAL unit before its first slice.

        Raises:
            FormatError: the packet holds no slice, or is damaged.
        """
        for start, end in self._spans(packet):
            if start < end and self._is_slice(packet[start]):
                mark = start - (self.length_size or 3)
                lead = len(nal).to_bytes(self.length_size, "big") if self.length_size else b"\x00\x00\x01"
                return packet[:mark] + lead + nal + packet[mark:]
        raise FormatError("a packet of video holds no slice: the video is damaged")

    def messages(self, packet: bytes) -> Iterator[Message]:
        """The SEI messages before the slices of a packet."""
        for nal in self.nals(packet):
            if nal and (nal[0] & 0x1F == 6 if self.codec == "h264" else nal[0] >> 1 & 0x3F == 39):
                yield from _messages(unescaped(nal[1 if self.codec == "h264" else 2 :]))

    def _is_slice(self, first: int) -> bool:
        return 1 <= first & 0x1F <= 5 if self.codec == "h264" else first >> 1 & 0x3F < 32

    def _spans(self, packet: bytes) -> Iterator[tuple[int, int]]:
        if self.length_size:
            yield from self._measured(packet)
            return
        marks = [match.end() for match in _START.finditer(packet)]
        for start, following in zip(marks, [*marks[1:], len(packet) + 3], strict=True):
            yield start, following - 3

    def _measured(self, packet: bytes) -> Iterator[tuple[int, int]]:
        position = 0
        while position < len(packet):
            start = position + self.length_size
            position = start + int.from_bytes(packet[position:start], "big")
            if position > len(packet):
                raise FormatError("a packet of video is cut short: the video is damaged")
            yield start, position


def _messages(body: bytes) -> Iterator[Message]:
    position = 0
    while position < len(body) and body[position:] != b"\x80":
        kind, position = _read_number(body, position)
        size, position = _read_number(body, position)
        if position + size > len(body):
            return  # cut short: what a decoder ignores, too
        yield Message(kind, body[position : position + size])
        position += size


def _read_number(body: bytes, position: int) -> tuple[int, int]:
    value = 0
    while position < len(body) and body[position] == 255:
        value, position = value + 255, position + 1
    return value + (body[position] if position < len(body) else 0), position + 1


__all__ = [
    "CONTENT_LIGHT",
    "FRAME_PACKING",
    "MASTERING_DISPLAY",
    "Framing",
    "Message",
    "NalCodec",
    "arrangement_of_packing",
    "escaped",
    "frame_packing",
    "hdr10_messages",
    "sei_nal",
    "unescaped",
]
