"""Lazy means lazy: nothing is pulled before it is wanted, errors go both ways, and no thread is left behind."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.streams import batched, prefetched


class Source:
    """Counts, and remembers what was pulled, in which thread, and whether it was closed."""

    def __init__(self, length: int, fails_at: int | None = None) -> None:
        self.pulled = 0
        self.threads: set[str] = set()
        self.closed = threading.Event()
        self._length, self._fails_at = length, fails_at

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self._length):
                self.pulled += 1
                self.threads.add(threading.current_thread().name)
                if number == self._fails_at:
                    raise OSError(f"item {number} is damaged")
                yield number
        finally:
            self.closed.set()


def prefetch_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert prefetch_threads() == []


@given(st.integers(0, 30), st.integers(1, 8))
def test_prefetched_yields_the_same_items_in_order(length: int, ahead: int) -> None:
    assert list(prefetched(range(length), ahead)) == list(range(length))


def test_nothing_is_pulled_before_the_first_item_is_wanted() -> None:
    source = Source(10)
    stream = prefetched(source, 3)
    assert source.pulled == 0
    assert prefetch_threads() == []
    stream.close()
    assert source.pulled == 0


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_at_most_ahead_items_are_pulled_early(ahead: int) -> None:
    source = Source(100)
    for number in (stream := prefetched(source, ahead)):
        assert source.pulled <= number + 1 + ahead
        if number == 50:
            stream.close()
    assert source.pulled <= 51 + ahead


def test_the_source_runs_in_one_thread_of_its_own() -> None:
    source = Source(20)
    list(prefetched(source, 4))
    assert len(source.threads) == 1
    assert source.threads.pop().startswith("prefetch")


def test_it_works_ahead_while_the_consumer_is_busy() -> None:
    asked = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        asked.set()
        yield 1

    stream = prefetched(source(), 2)
    next(stream)
    assert asked.wait(5)
    stream.close()


def test_an_error_of_the_source_comes_after_the_items_before_it() -> None:
    stream = prefetched(Source(10, fails_at=3), 2)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="item 3 is damaged"):
        next(stream)


def test_an_error_of_the_consumer_ends_the_thread_and_the_source() -> None:
    source = Source(10**9)

    def consume() -> None:
        for item in prefetched(source, 2):
            if item == 3:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    assert prefetch_threads() == []
    assert source.closed.wait(5)


def test_closing_ends_the_thread_and_the_source() -> None:
    source = Source(10**9)
    stream = prefetched(source, 4)
    assert next(stream) == 0
    stream.close()
    assert prefetch_threads() == []
    assert source.closed.wait(5)
    assert source.pulled <= 5


def test_the_items_after_an_error_are_not_pulled() -> None:
    source = Source(10, fails_at=3)
    with pytest.raises(OSError, match="damaged"):
        list(prefetched(source, 5))
    assert source.pulled == 4


def test_none_and_false_are_items_like_others() -> None:
    assert list(prefetched([None, False, 0, []], 2)) == [None, False, 0, []]


@given(st.lists(st.integers()), st.integers(1, 7))
def test_batches_hold_all_items_in_order(items: list[int], size: int) -> None:
    batches = list(batched(items, size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches)


def test_batches_are_pulled_when_wanted() -> None:
    numbers = count()
    batches = batched(numbers, 3)
    assert next(numbers) == 0
    assert next(batches) == (1, 2, 3)
    assert next(numbers) == 4
