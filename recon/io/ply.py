"""PLY (Greg Turk, 1994): header, comments, and elements as structured arrays. What they mean is said elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from recon.errors import FormatError

LIST: Final = "list"
"""The type of a property that is a list, where others have a numpy type."""

_LONGEST_HEADER = 1 << 16
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
_NAMES = {"f4": "float", "u1": "uchar", "i4": "int"}


class UnevenListsError(FormatError):
    """Lists of one element that differ in length: this reader does not know where each row begins."""


@dataclass(frozen=True, slots=True)
class Element:
    """What the header says of one kind of row."""

    name: str
    count: int
    properties: list[tuple[str, str]]
    """(name, numpy type); a list has the type `LIST`."""
    lists: dict[str, tuple[str, str]]
    """For each list: numpy types of its length and of its items."""


@dataclass(frozen=True, slots=True)
class Header:
    """The text before the rows."""

    order: str
    """Byte order: "<", ">", or "=" for ASCII."""
    elements: list[Element]
    comments: list[str]

    def named(self, name: str) -> Element | None:
        """The element of that name, if it has rows."""
        return next((each for each in self.elements if each.name == name and each.count), None)


def header_bytes(comments: Sequence[str], elements: Sequence[tuple[str, int, np.dtype]]) -> bytes:
    """The header of a binary little-endian file; other than ASCII is escaped.

    A field with a shape is a list; the field before it is its length.

    Raises:
        ValueError: a comment holds a line break.
    """
    if any(len(comment.splitlines()) > 1 for comment in comments):
        raise ValueError("a comment is one line")
    # Some readers insist on the format in the second line: comments come after it.
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    for name, count, kind in elements:
        lines += [f"element {name} {count}", *_property_lines(kind)]
    return "".join(f"{line}\n" for line in [*lines, "end_header"]).encode("ascii", "backslashreplace")


def _property_lines(kind: np.dtype) -> Iterator[str]:
    fields = [(name, kind[name]) for name in kind.names or ()]
    lengths = {fields[place - 1][0] for place, (_name, each) in enumerate(fields) if each.shape}
    for name, each in fields:
        if each.shape:
            yield f"property list uchar {_NAMES[each.base.str[1:]]} {name}"
        elif name not in lengths:
            yield f"property {_NAMES[each.str[1:]]} {name}"


def read_header(path: Path, file: BinaryIO) -> Header:
    """The header; the file stands at its first row afterwards.

    Raises:
        FormatError: it is none.
    """
    if file.readline(8).strip() != b"ply":
        raise FormatError(f"{path}: is not a PLY file (its first line is not 'ply')")
    comments = list[str]()
    lines = _header_lines(path, file, comments)
    words = next(lines, [])
    if len(words) != 3 or words[0] != "format" or words[1] not in _ORDERS:
        raise FormatError(f"{path}: its header names no known format")
    order, elements = _ORDERS[words[1]], list[Element]()
    for words in lines:
        try:
            _declare(words, elements)
        except (KeyError, ValueError, IndexError) as error:
            raise FormatError(f"{path}: its header has the line '{' '.join(words)}', which is not PLY 1.0") from error
    return Header(order, elements, comments)


def _declare(words: list[str], elements: list[Element]) -> None:
    """Add what one header line declares."""
    match words:
        case ["element", name, count]:
            elements.append(Element(name, int(count), [], {}))
        case ["property", "list", length, item, name]:
            elements[-1].properties.append((name, LIST))
            elements[-1].lists[name] = (_TYPES[length], _TYPES[item])
        case ["property", kind, name]:
            elements[-1].properties.append((name, _TYPES[kind]))
        case _:
            raise ValueError(words)


def _header_lines(path: Path, file: BinaryIO, comments: list[str]) -> Iterator[list[str]]:
    """The words of each line up to ``end_header``; comments go to their list."""
    while file.tell() < _LONGEST_HEADER and (line := file.readline(_LONGEST_HEADER)):
        words = line.decode("latin-1").split()
        if words == ["end_header"]:
            return
        if words and words[0] in {"comment", "obj_info"}:
            comments.append(line.decode("latin-1").strip().partition(" ")[2])
        elif words:
            yield words
    raise FormatError(f"{path}: its header has no end")


def read_rows(path: Path, file: BinaryIO, header: Header, upto: str) -> dict[str, np.ndarray]:
    """The elements of a file up to a named one, as structured arrays.

    Lists must be as long in every row of an element; they are fields with a shape.

    Raises:
        FormatError: the file is cut short, or has no such element.
        UnevenListsError: lists differ in length.
    """
    rows = dict[str, np.ndarray]()
    for element in header.elements:
        kind = _row_kind(path, file, header.order, element)
        read = _ascii_rows if header.order == "=" else _binary_rows
        values = read(path, file, kind, element)
        _check_lengths(path, element, values)
        if len(values) < element.count:
            raise FormatError(f"{path}: ends after {len(values)} of {element.count} rows of {element.name}")
        rows[element.name] = values
        if element.name == upto:
            return rows
    raise FormatError(f"{path}: has no element {upto}")


def _binary_rows(_path: Path, file: BinaryIO, kind: np.dtype, element: Element) -> np.ndarray:
    return np.fromfile(file, kind, element.count)


def _ascii_rows(path: Path, file: BinaryIO, kind: np.dtype, element: Element) -> np.ndarray:
    lines = list(islice(file, element.count))
    try:
        return np.loadtxt(lines, kind, ndmin=1) if any(line.strip() for line in lines) else np.zeros(0, kind)
    except ValueError as error:
        fault = UnevenListsError if element.lists else FormatError
        raise fault(f"{path}: a row is not as the header says ({error})") from error


def _row_kind(path: Path, file: BinaryIO, order: str, element: Element) -> np.dtype:
    """The layout of a row, with lists as long as those of the first row."""
    if not element.lists:
        return np.dtype([(name, order + kind) for name, kind in element.properties])
    start = file.tell()
    first = iter(file.readline().split()) if order == "=" else None
    fields = list[tuple[str, str] | tuple[str, str, tuple[int]]]()
    for name, kind in element.properties:
        if kind != LIST:
            _skip(file, first, np.dtype(order + kind), 1)
            fields.append((name, order + kind))
            continue
        length_kind, item_kind = (np.dtype(order + each) for each in element.lists[name])
        length = _length(path, file, first, length_kind) if element.count else 0
        _skip(file, first, item_kind, length)
        fields += [(_length_of(name), length_kind.str), (name, item_kind.str, (length,))]
    file.seek(start)
    return np.dtype(fields)


def _length_of(name: str) -> str:
    return f"{name} length"


def _length(path: Path, file: BinaryIO, words: Iterator[bytes] | None, kind: np.dtype) -> int:
    try:
        return int(next(words)) if words is not None else int(np.frombuffer(file.read(kind.itemsize), kind)[0])
    except (StopIteration, ValueError, IndexError) as error:
        raise FormatError(f"{path}: ends within its first list, or has no number there") from error


def _skip(file: BinaryIO, words: Iterator[bytes] | None, kind: np.dtype, count: int) -> None:
    if words is None:
        file.seek(kind.itemsize * count, 1)
    else:
        list(islice(words, count))


def _check_lengths(path: Path, element: Element, values: np.ndarray) -> None:
    for name in element.lists:
        if not (values[_length_of(name)] == values[name].shape[1]).all():
            raise UnevenListsError(
                f"{path}: the lists {name} of element {element.name} differ in length: not supported"
            )
