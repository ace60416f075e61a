"""Lazy plumbing for iterators; it knows nothing of frames or depth."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")


class _End:
    """What ``next`` returns when there is nothing left."""


_END: Final = _End()


def prefetched(source: Iterable[T], ahead: int) -> Generator[T]:
    """Pull up to ``ahead`` items in one thread while the consumer works on earlier ones.

    Errors of the source are raised at the consumer, after the items before them. Closing the generator waits for at
    most ``ahead`` pulls and ends the thread.
    """
    items = iter(source)
    with ThreadPoolExecutor(1, "prefetch") as thread:
        coming = deque(thread.submit(next, items, _END) for _ in range(ahead))
        while not isinstance(item := coming.popleft().result(), _End):
            coming.append(thread.submit(next, items, _END))
            yield item


def batched(source: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Tuples of ``size`` consecutive items; the last may be shorter (itertools.batched of Python 3.12)."""
    items = iter(source)
    while batch := tuple(islice(items, size)):
        yield batch
