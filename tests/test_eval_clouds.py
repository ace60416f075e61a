"""Clouds and meshes: planes and spheres with known distances, brute force as the oracle, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import rigid_transforms, seeds

from recon.errors import FormatError
from recon.evaluation import clouds
from recon.evaluation.clouds import Surface, compare_clouds, compare_surfaces, sampled, thinned
from recon.geometry import transform


def floor_at(height: float, count: int = 41) -> np.ndarray:
    """Points 5 cm apart, 2 m x 2 m."""
    x, y = np.meshgrid(np.linspace(0, 2, count), np.linspace(0, 2, count))
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], axis=1).astype(np.float32)


def sphere(radius: float, count: int, seed: int) -> np.ndarray:
    directions = np.random.default_rng(seed).standard_normal((count, 3))
    return (radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)


def random_cloud(seed: int, count: int, size: float = 0.2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-size, size, (count, 3)).astype(np.float32)


def square(side: float = 1.0, height: float = 0.0) -> Surface:
    """Of two triangles."""
    corners = np.array([[0, 0, height], [side, 0, height], [side, side, height], [0, side, height]])
    return Surface(corners, np.array([[0, 1, 2], [0, 2, 3]]))


# ----------------------------------------------------------------------------------------------------- known distances


@given(seed=seeds, count=st.integers(1, 50))
def test_a_cloud_agrees_with_itself(seed: int, count: int) -> None:
    cloud = random_cloud(seed, count)
    same = compare_clouds(cloud, np.random.default_rng(seed).permutation(cloud))
    assert [(each.precision, each.recall, each.f_score) for each in same.agreements] == [(1, 1, 1)] * 3
    assert (same.accuracy.mean, same.completeness.percentile_90) == (0, 0)


def test_a_floor_3_cm_too_high() -> None:
    """Within 2 cm nothing agrees, within 5 cm all of it does."""
    shifted = compare_clouds(floor_at(0.03), floor_at(0.0), thresholds=[0.02, 0.05])
    near, far = shifted.agreements
    assert (near.precision, near.recall, near.f_score) == (0, 0, 0)
    assert (far.precision, far.recall, far.f_score) == (1, 1, 1)
    for distances in (shifted.accuracy, shifted.completeness):
        assert (distances.mean, distances.median, distances.percentile_90) == pytest.approx((0.03, 0.03, 0.03))


def test_half_a_floor_and_as_much_that_is_not_there() -> None:
    """A third of the true floor is predicted, and right; as many predicted points hang 0.5 m above it."""
    true = floor_at(0.0)[: 3 * 500]
    predicted = np.concatenate([true[:500], true[:500] + np.float32([0, 0, 0.5])])
    found = compare_clouds(predicted, true, thresholds=[0.01])
    (agreement,) = found.agreements
    assert (agreement.precision, agreement.recall) == (0.5, pytest.approx(1 / 3))
    assert agreement.f_score == pytest.approx(2 / (1 / 0.5 + 3))
    assert (found.accuracy.median, found.accuracy.percentile_90) == pytest.approx((0.25, 0.5))


def test_a_distance_that_is_the_threshold_does_not_agree() -> None:
    """Equation 4 has d < threshold. 1/4 is exact."""
    apart = compare_clouds(np.zeros((1, 3), np.float32), np.float32([[0.25, 0, 0]]), thresholds=[0.25, 0.2500001])
    assert [each.precision for each in apart.agreements] == [0, 1]


def test_two_spheres() -> None:
    """Radii of 1 m and 1.03 m: 3 cm apart; the nearest sample is as near but for the gaps between samples."""
    inner, outer = sphere(1.0, 40_000, 0), sphere(1.03, 40_000, 1)
    found = compare_clouds(outer, inner, thresholds=[0.025, 0.05])
    gap = 0.5 * np.sqrt(4 * np.pi / 40_000)
    assert 0.03 < found.accuracy.median < np.hypot(0.03, 2 * gap)
    assert 0.03 < found.completeness.median < np.hypot(0.03, 2 * gap)
    assert [each.f_score for each in found.agreements] == [0, pytest.approx(1, abs=1e-3)]


def test_what_is_beyond_the_farthest_counts_as_so_far() -> None:
    predicted = np.float32([[0, 0, 0], [100, 0, 0]])
    bounded = compare_clouds(predicted, predicted[:1], farthest=0.7, thresholds=[0.7])
    assert bounded.accuracy.mean == pytest.approx(0.35)
    assert bounded.agreements[0].precision == 0.5
    assert compare_clouds(predicted, predicted[:1], farthest=np.inf).accuracy.mean == pytest.approx(50)


# ----------------------------------------------------------------------------------------------- oracles and properties


@given(seed=seeds, counts=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_it_is_what_all_pairs_say(seed: int, counts: tuple[int, int]) -> None:
    predicted, true = random_cloud(seed, counts[0]), random_cloud(seed + 1, counts[1])
    pairs = np.linalg.norm(predicted[:, None].astype(float) - true[None].astype(float), axis=2)
    found = compare_clouds(predicted, true)
    for agreement in found.agreements:
        assert agreement.precision == np.mean(pairs.min(axis=1) < agreement.threshold)
        assert agreement.recall == np.mean(pairs.min(axis=0) < agreement.threshold)
    assert found.accuracy.mean == pytest.approx(pairs.min(axis=1).mean())
    assert found.accuracy.median == pytest.approx(np.median(pairs.min(axis=1)))
    assert found.completeness.percentile_90 == pytest.approx(np.percentile(pairs.min(axis=0), 90))


@given(seed=seeds, motion=rigid_transforms())
def test_a_motion_of_both_changes_nothing(seed: int, motion: np.ndarray) -> None:
    """Up to what float32 holds of where they then are."""
    predicted, true = random_cloud(seed, 200), random_cloud(seed + 1, 150)
    moved = [transform(motion, each) for each in (predicted, true)]
    one, other = compare_clouds(predicted, true), compare_clouds(*moved)
    rounding = 4 * float(np.spacing(np.float32(1 + np.abs(motion[:3, 3]).max())))
    assert other.accuracy.mean == pytest.approx(one.accuracy.mean, abs=rounding)
    assert other.completeness.median == pytest.approx(one.completeness.median, abs=rounding)


@given(seed=seeds)
def test_prediction_and_truth_exchange_precision_and_recall(seed: int) -> None:
    a, b = random_cloud(seed, 80), random_cloud(seed + 1, 50)
    one, other = compare_clouds(a, b), compare_clouds(b, a)
    assert (one.accuracy, one.completeness) == (other.completeness, other.accuracy)
    for each, exchanged in zip(one.agreements, other.agreements, strict=True):
        assert (each.precision, each.recall) == (exchanged.recall, exchanged.precision)
        assert each.f_score == pytest.approx(exchanged.f_score)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, true = random_cloud(0, 1000), random_cloud(1, 700)
    whole = compare_clouds(predicted, true)
    monkeypatch.setattr(clouds, "BLOCK", 64)
    assert compare_clouds(predicted, true) == whole


# --------------------------------------------------------------------------------------------------------------- meshes


def test_a_mesh_agrees_with_itself_but_for_the_gaps_between_samples() -> None:
    found = compare_surfaces(square(), square(), np.random.default_rng(0))
    assert found.accuracy.mean == pytest.approx(0.5 / np.sqrt(clouds.DENSITY), rel=0.05)
    assert [each.f_score for each in found.agreements] == [pytest.approx(1, abs=1e-3)] * 3


def test_a_mesh_3_cm_too_high() -> None:
    found = compare_surfaces(square(height=0.03), square(), np.random.default_rng(0), thresholds=[0.02, 0.05])
    assert [each.f_score for each in found.agreements] == [0, pytest.approx(1, abs=1e-3)]


def test_samples_lie_on_the_mesh_and_as_dense_everywhere() -> None:
    """A square of 3 m, cut into two triangles, and a sliver of no area: in each ninth lies a ninth of the points."""
    plain = square(side=3.0, height=1.5)
    with_sliver = Surface(plain.vertices, np.concatenate([[[0, 0, 1]], plain.triangles]))
    points = sampled(with_sliver, np.random.default_rng(0), density=1000.0)
    assert (points.dtype, len(points)) == (np.float32, 9000)
    np.testing.assert_allclose(points[:, 2], 1.5, rtol=1e-6)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=3, range=[[0, 3], [0, 3]])
    assert counts.sum() == 9000
    chi_squared = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_squared < 26.1  # 8 degrees of freedom: one seed in a thousand


def test_samples_follow_area_not_the_number_of_triangles() -> None:
    """One triangle of 50 m2, and a hundred that together have 0.5 m2."""
    corners = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 5], [0.1, 0, 5], [0, 0.1, 5]])
    surface = Surface(corners, np.array([[0, 1, 2]] + [[3, 4, 5]] * 100))
    points = sampled(surface, np.random.default_rng(1), density=200.0)
    assert np.mean(points[:, 2] > 1) == pytest.approx(0.5 / 50.5, rel=0.25)


def test_the_same_generator_gives_the_same_points() -> None:
    one, other, third = (sampled(square(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)


def test_samples_are_spread_as_trimeshs() -> None:
    """The same mean and covariance as an independent sampler, on an uneven mesh."""
    trimesh = pytest.importorskip("trimesh", reason="trimesh is the oracle")
    mesh = trimesh.creation.icosphere(subdivisions=2)
    mesh.vertices[:, 0] *= 3
    theirs, _ = trimesh.sample.sample_surface(mesh, 40_000, seed=0)
    surface = Surface(np.array(mesh.vertices), np.array(mesh.faces))
    ours = sampled(surface, np.random.default_rng(0), density=40_000 / mesh.area)
    assert len(ours) == 40_000
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(ours.T), np.cov(theirs.T), atol=0.05)


# ------------------------------------------------------------------------------------------------------------- thinning


def test_thinning_takes_the_mean_of_each_cube() -> None:
    cloud = np.float32([[0.01, 0.01, 0.01], [0.03, 0.03, 0.01], [-0.01, 0.01, 0.01], [0.26, 0.01, 0.01]])
    thin = thinned(cloud, 0.1)
    expected = [[-0.01, 0.01, 0.01], [0.02, 0.02, 0.01], [0.26, 0.01, 0.01]]
    np.testing.assert_allclose(thin[np.argsort(thin[:, 0])], expected, atol=1e-7)


@given(seed=seeds, count=st.integers(1, 200), size=st.floats(0.01, 1))
def test_thinning_keeps_what_is_there(seed: int, count: int, size: float) -> None:
    """As many points as cubes that have one; none farther from the cloud than a cube's diagonal."""
    cloud = random_cloud(seed, count)
    thin = thinned(cloud, size)
    assert len(thin) == len({tuple(cube) for cube in np.floor(cloud.astype(float) / size)})
    assert compare_clouds(thin, cloud, farthest=np.inf).accuracy.percentile_90 <= size * np.sqrt(3) + 1e-6


def test_density_does_not_matter_after_thinning() -> None:
    """The right half of the prediction is 10 times as dense and right, the left half hangs 0.2 m above the floor."""
    true = floor_at(0.0, 81)
    right, left = true[true[:, 0] >= 1], true[true[:, 0] < 1] + np.float32([0, 0, 0.2])
    jitter = np.random.default_rng(0).uniform(0, 0.01, (10 * len(right), 3)).astype(np.float32)
    predicted = np.concatenate([np.tile(right, (10, 1)) + jitter, left])
    dense = compare_clouds(predicted, true, thresholds=[0.05]).agreements[0].precision
    level = compare_clouds(thinned(predicted, 0.025), thinned(true, 0.025), thresholds=[0.05]).agreements[0].precision
    assert dense > 0.9
    assert level < 0.8


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("which", ["predicted", "true"])
def test_empty_and_unknown_points_are_told(which: str) -> None:
    cloud, broken = random_cloud(0, 5), random_cloud(1, 5)
    broken[1:3, 2] = np.nan
    for bad, message in ((cloud[:0], "cloud is empty"), (broken, "cloud are not finite: leave them out")):
        pair = (bad, cloud) if which == "predicted" else (cloud, bad)
        with pytest.raises(FormatError, match=f"{which} {message}"):
            compare_clouds(*pair)


def test_what_cannot_be_thinned_is_told() -> None:
    broken = np.float32([[0, 0, 0], [0, np.inf, 0]])
    with pytest.raises(FormatError, match="1 of 2 points of the given cloud are not finite"):
        thinned(broken, 0.1)
    with pytest.raises(ValueError, match="must be positive"):
        thinned(broken[:1], 0.0)


@pytest.mark.parametrize("thresholds", [[0.0], [0.05, -1.0], [0.05, 1.5], [np.nan]])
def test_thresholds_that_make_no_sense_are_refused(thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match="thresholds must lie between 0 and 1 m"):
        compare_clouds(random_cloud(0, 5), random_cloud(0, 5), thresholds=thresholds)


@pytest.mark.parametrize(
    ("surface", "message"),
    [
        (Surface(square().vertices, np.zeros((0, 3), np.int64)), "no triangles"),
        (Surface(square().vertices, np.array([[0, 1, 4]])), r"names a vertex that is not there \(it has 4\)"),
        (Surface(square().vertices, np.array([[0, 1, -1]])), "names a vertex that is not there"),
        (Surface(np.full((3, 3), np.nan), np.array([[0, 1, 2]])), "not finite"),
        (Surface(np.zeros((3, 3)), np.array([[0, 1, 2]])), "an area of 0 m2"),
        (square(side=1000.0), r"an area of 1e\+06 m2, 1e\+10 points: is it a surface, and in metres\?"),
    ],
)
def test_meshes_without_a_surface_are_told(surface: Surface, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        sampled(surface, np.random.default_rng(0))
