"""Boundary F1: by hand, against a slow computation pixel by pixel, and where the truth does not suffice."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from recon.evaluation.boundary import LEAST_DENSITY, boundary_f1, density


def slow_f1(depth: np.ndarray, true: np.ndarray) -> float:
    """The definition, pair by pair, threshold by threshold, direction by direction, where all have edges."""
    ratios = [1.05 + 0.2 * step / 9 for step in range(10)]
    scores = []
    for ratio in ratios:
        precision, recall = [], []
        for steps in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            both = predicted = real = 0
            for here, there in _neighbours(true.shape, *steps):
                if np.isnan(true[here]) or np.isnan(true[there]):
                    continue
                seen, is_true = depth[there] / depth[here] > ratio, true[there] / true[here] > ratio
                both, predicted, real = both + (seen and is_true), predicted + seen, real + is_true
            precision.append(both / max(predicted, 1))
            recall.append(both / max(real, 1))
        p, r = sum(precision) / 4, sum(recall) / 4
        scores.append(2 * p * r / (p + r) if p + r else 0.0)
    return sum(ratio * score for ratio, score in zip(ratios, scores, strict=True)) / sum(ratios)


def _neighbours(shape: tuple[int, ...], down: int, right: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for row in range(shape[0]):
        for column in range(shape[1]):
            if 0 <= row + down < shape[0] and 0 <= column + right < shape[1]:
                yield (row, column), (row + down, column + right)


def rough(random: np.random.Generator, rows: int = 12, columns: int = 15) -> np.ndarray:
    """Depth with steps of all sizes in all directions."""
    return np.exp(random.normal(0, 0.2, (rows, columns))).astype(np.float32)


def box(near: float, far: float, columns: slice) -> np.ndarray:
    """Something near in front of something far."""
    depth = np.full((12, 16), far, np.float32)
    depth[4:8, columns] = near
    return depth


@given(seed=seeds, holes=st.sampled_from([0.0, 0.1]))
def test_agrees_with_the_definition_pair_by_pair(seed: int, holes: float) -> None:
    random = np.random.default_rng(seed)
    true = rough(random)
    depth = (true * np.exp(random.normal(0, 0.05, true.shape))).astype(np.float32)
    true[random.random(true.shape) < holes] = np.nan
    assert boundary_f1(depth, true) == pytest.approx(slow_f1(depth, true), abs=1e-12)


@given(seed=seeds, factor=st.floats(1e-2, 1e2))
def test_the_truth_in_any_unit_is_perfect(seed: int, factor: float) -> None:
    true = rough(np.random.default_rng(seed))
    assert boundary_f1(true, true) == 1
    power_of_two = np.float32(2.0 ** round(np.log2(factor)))  # without rounding: an edge of exactly 5 % stays one
    assert boundary_f1(power_of_two * true, true) == 1


def test_edges_of_a_single_direction_suffice_for_a_perfect_score() -> None:
    """Averaged over directions that have none, it would be a quarter."""
    true = np.ones((6, 8), np.float32)
    true[:, 4:] = 1.5
    assert boundary_f1(true, true) == 1


def test_thresholds_above_every_true_edge_do_not_count() -> None:
    true = box(1.0, 1.1, slice(4, 9))
    assert boundary_f1(true, true) == 1


def test_smooth_depth_finds_no_edge() -> None:
    assert boundary_f1(np.ones((12, 16), np.float32), box(1.0, 2.0, slice(4, 9))) == 0


def test_edges_beside_the_true_ones_are_worth_nothing() -> None:
    """Half of the box's outline (above and below) is met in part, none of its sides."""
    true, moved = box(1.0, 2.0, slice(4, 9)), box(1.0, 2.0, slice(6, 11))
    # Left and right: 4 edges each, none shared. Up and down: 5 edges each, 3 shared. P = R = (0 + 0 + .6 + .6) / 4.
    assert boundary_f1(moved, true) == pytest.approx(0.3)


def test_a_step_in_the_wrong_direction_is_no_edge_of_the_truth() -> None:
    assert boundary_f1(box(2.0, 1.0, slice(4, 9)), box(1.0, 2.0, slice(4, 9))) == 0


def test_false_edges_cost_precision_also_in_directions_without_true_ones() -> None:
    true = np.ones((6, 8), np.float32)
    true[:, 4:] = 1.5
    striped = true.copy()
    striped[::2] *= 2
    # Left and right perfect, up and down false: P = 2 / 4, or 1 / 3 where one is left; R = 1.
    assert boundary_f1(striped, true) == pytest.approx(2 * (1 / 3) / (1 + 1 / 3))


def test_only_neighbours_that_are_both_known_are_compared() -> None:
    """The edge beside the hole is not, on whichever side the method puts it."""
    true = np.array([[1, 1, np.nan, 2, 2, 1]] * 4, np.float32)
    early, late = (np.array([row] * 4, np.float32) for row in ([1, 1, 2, 2, 2, 1], [1, 1, 1, 2, 2, 1]))
    assert boundary_f1(early, true) == boundary_f1(late, true) == 1


def test_no_answer_is_no_edge() -> None:
    """A method that leaves out the pixels at edges misses the edges, as one does that answers smoothly."""
    true = box(1.0, 2.0, slice(4, 9))
    masked, smooth = true.copy(), true.copy()
    masked[3:9, 3:10] = np.nan
    smooth[3:9, 3:10] = 2
    assert boundary_f1(masked, true) == boundary_f1(smooth, true) == 0


def test_without_true_edges_there_is_no_score() -> None:
    flat = np.linspace(1, 1.4, 12 * 16).reshape(12, 16).astype(np.float32)
    assert np.isnan(boundary_f1(box(1.0, 2.0, slice(4, 9)), flat[:, :1].repeat(16, axis=1) / flat[:, :1]))
    assert np.isnan(boundary_f1(flat, np.full((12, 16), np.nan, np.float32)))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_sparse_truth_says_nothing_of_edges(share: float) -> None:
    random = np.random.default_rng(0)
    dense = rough(random, 60, 80)
    true = np.where(random.random(dense.shape) < share, dense, np.float32(np.nan))
    assert density(true) == pytest.approx(share**2 / (1 - (1 - share) ** 2), abs=0.03)
    assert density(true) < LEAST_DENSITY
    assert np.isnan(boundary_f1(dense, true))


def test_large_holes_are_not_sparse() -> None:
    """Half of the picture is sky, and what is left is dense."""
    true = rough(np.random.default_rng(0), 60, 80)
    true[:30] = np.nan
    assert density(true) > 0.95
    assert boundary_f1(rough(np.random.default_rng(0), 60, 80), true) == 1
