"""Bundle adjustment: its algebra against dense algebra, its answers against two other solvers, what must not move them,
what nothing determines, and whether its standard deviations are what it errs by."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pycolmap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from strategies import rigid_transforms, seeds

from recon.bundle import (
    Bundle,
    Noise,
    Observations,
    adjust,
    adjusted,
    centre_sigma,
    exactness,
    focal_sigma,
    kernels,
    noise_of,
    residual_pixels,
)
from recon.bundle.given import in_cameras
from recon.geometry import inverse, project
from recon.types import Intrinsics

LENS = Intrinsics(500.0, 520.0, 320.0, 235.0, 640, 480)
NOISE = Noise(pixel=0.5, depth=0.08, map=0.05)
UNSURE = replace(NOISE, focal=0.1)
"""With a focal length that is known to a tenth."""
EXACT = Noise(1e-9, 1e-9, 1e-9)
"""To draw from, that is."""


# --------------------------------------------------------------------------------------------------------------- scenes


def scene(
    seed: int = 0, cameras: int = 5, landmarks: int = 60, *, step: float = 0.2, views: int | None = None
) -> tuple[Bundle, np.ndarray, np.ndarray]:
    """Cameras that walk to the right and look ahead; which sees which landmark: the ``views`` next ones, or all."""
    random = np.random.default_rng(seed)
    views = cameras if views is None else views
    centres = random.normal(0, 0.04, (cameras, 3)) + step * np.arange(cameras)[:, None] * [1, 0, 0]
    world_from_camera = np.tile(np.eye(4), (cameras, 1, 1))
    world_from_camera[:, :3, :3] = Rotation.from_rotvec(random.normal(0, 0.04, (cameras, 3))).as_matrix()
    world_from_camera[:, :3, 3] = centres
    first = random.integers(0, cameras - views + 1, landmarks)
    z = random.uniform(2, 6, landmarks)
    middle = step * (first + (views - 1) / 2)
    x, y = random.uniform(-0.4, 0.4, landmarks) * z, random.uniform(-0.3, 0.3, landmarks) * z
    camera = (first[:, None] + np.arange(views)).ravel()
    truth = Bundle(inverse(world_from_camera), np.ones(cameras), np.stack([middle + x, y, z], axis=1))
    return truth, camera, np.repeat(np.arange(landmarks), views)


def seen(
    truth: Bundle, camera: np.ndarray, landmark: np.ndarray, noise: Noise = EXACT, *, seed: int = 1
) -> Observations:
    """What the cameras of a bundle see: pixels and depth with errors; those of whole maps are in its factors."""
    random = np.random.default_rng(seed)
    place = in_cameras(
        truth.camera_from_world,
        truth.landmarks,
        Observations(camera, landmark, np.zeros((len(camera), 2)), np.ones(len(camera))),
    )
    pixel = project(place, LENS) + noise.pixel * random.standard_normal((len(camera), 2))
    factor = truth.depth_factor[camera]
    return Observations(camera, landmark, pixel, place[:, 2] / factor * random.lognormal(0, noise.depth, len(camera)))


def shaken(truth: Bundle, pixels: float = 3.0, *, seed: int = 2) -> Bundle:
    """A start that is a few pixels off: all cameras but the first, all landmarks; factors 1."""
    random = np.random.default_rng(seed)
    twist = random.normal(0, pixels / LENS.fx, (len(truth.depth_factor), 6)) * [3, 3, 3, 1, 1, 1]
    twist[0] = 0
    landmarks = truth.landmarks * random.lognormal(0, 0.05, (len(truth.landmarks), 1))
    return Bundle(adjust.exponential(twist) @ truth.camera_from_world, np.ones(len(twist)), landmarks)


def noisy(seed: int = 0, **of_scene: int) -> tuple[Bundle, Observations]:
    """Normal noise of the given size, maps included."""
    truth, camera, landmark = scene(seed, **of_scene)
    factor = np.random.default_rng(seed + 100).lognormal(0, NOISE.map, len(truth.depth_factor))
    truth = replace(truth, depth_factor=factor)
    return truth, seen(truth, camera, landmark, NOISE, seed=seed + 200)


def with_mismatches(observed: Observations, share: float, seed: int = 3) -> tuple[Observations, np.ndarray]:
    """Some observations are somewhere else in the picture, with the depth of there; and which."""
    random = np.random.default_rng(seed)
    wrong = random.random(len(observed.camera)) < share
    pixel, depth = observed.pixel.copy(), observed.depth.copy()
    pixel[wrong] = random.uniform(0, [LENS.width, LENS.height], (wrong.sum(), 2))
    depth[wrong] = random.uniform(2, 6, wrong.sum())
    return replace(observed, pixel=pixel, depth=depth), wrong


def chosen(observed: Observations, rows: np.ndarray) -> Observations:
    return Observations(observed.camera[rows], observed.landmark[rows], observed.pixel[rows], observed.depth[rows])


def blind(observed: Observations) -> Observations:
    """Without any depth."""
    return replace(observed, depth=np.full(len(observed.depth), np.nan))


def centres(of: Bundle) -> np.ndarray:
    return inverse(of.camera_from_world)[:, :3, 3]


def close(a: Bundle, b: Bundle, atol: float) -> None:
    np.testing.assert_allclose(a.camera_from_world, b.camera_from_world, rtol=0, atol=atol)
    np.testing.assert_allclose(a.depth_factor, b.depth_factor, rtol=0, atol=atol)
    np.testing.assert_allclose(a.landmarks, b.landmarks, rtol=0, atol=5 * atol)  # they are a few units away


@pytest.fixture
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps until rounding, so that answers can be compared sharply."""
    monkeypatch.setattr(adjust, "SETTLED", 1e-13)
    monkeypatch.setattr(adjust, "STEPS", 500)


# -------------------------------------------------------------------------------------------------------------- algebra


def problem_of(
    start: Bundle, observed: Observations, held: np.ndarray | None = None, noise: Noise = UNSURE
) -> tuple[adjust.Problem, kernels.State, Observations]:
    """The observations come back in the order of the problem."""
    setting = adjust.Setting.of(start, observed, held)
    return adjust.Problem(setting, LENS, noise), adjust.state_of(start), setting.seen


def moved(state: kernels.State, step: np.ndarray) -> kernels.State:
    """By 7 numbers for each camera, then 3 for each landmark, then one for the focal length."""
    count = len(state.log_factor)
    cameras, landmarks = step[: 7 * count].reshape(count, 7), step[7 * count : -1].reshape(-1, 3)
    pose = adjust.exponential(cameras[:, :6]) @ state.camera_from_world
    focal = state.log_focal + UNSURE.focal * step[-1]
    return kernels.State(pose, state.log_factor + cameras[:, 6], state.landmarks + landmarks, focal)


def numeric_jacobian(function: Callable[[np.ndarray], np.ndarray], size: int) -> np.ndarray:
    """By central differences, at 0."""
    h = 1e-6
    return np.stack([(function(h * unit) - function(-h * unit)) / (2 * h) for unit in np.eye(size)], axis=1)


def dense_system(problem: adjust.Problem, state: kernels.State, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J' W J and -J' W r over all unknowns, by differences; what is held does not change anything."""
    at = problem.residuals(state, 2.0)
    root = np.append(np.sqrt(at.weight).ravel(), np.ones(len(state.log_factor) + 1))

    def weighed(step: np.ndarray) -> np.ndarray:
        there = moved(state, step)
        known = [*(there.log_factor / NOISE.map), there.log_focal / UNSURE.focal]
        return root * np.append(problem.residuals(there, 2.0).value.ravel(), known)

    cameras = len(state.log_factor)
    jacobian = numeric_jacobian(weighed, 7 * cameras + 3 * len(state.landmarks) + 1)
    jacobian[:, : 7 * cameras].reshape(-1, cameras, 7)[:, held, :6] = 0
    return jacobian.T @ jacobian, -jacobian.T @ weighed(np.zeros(jacobian.shape[1]))


def small(seed: int = 0) -> tuple[Bundle, Observations]:
    """With holes in the depth and mismatches, not at its best; the focal length not that of the intrinsics."""
    truth, observed = noisy(seed, cameras=4, landmarks=12)
    depth = np.where(np.arange(len(observed.depth)) % 5 == 0, np.nan, observed.depth)
    return replace(shaken(truth, 1.0), focal_factor=1.003), with_mismatches(replace(observed, depth=depth), 0.1)[0]


@given(square=st.floats(0, 1e4), width=st.floats(0.5, 100))
def test_the_weight_is_the_slope_of_the_loss(square: float, width: float) -> None:
    h = 1e-4 * (1 + square)
    low, high = (kernels._geman_mcclure(each, width)[0] for each in (square - h, square + h))
    weight = kernels._geman_mcclure(square, width)[1]
    assert weight == pytest.approx((high - low) / (2 * h), rel=1e-2, abs=1e-9)
    assert high < width**2
    assert kernels._geman_mcclure(1e-9, width)[0] == pytest.approx(1e-9, rel=1e-6)  # least squares


@pytest.mark.parametrize("loss", [2.0, 20.0])
def test_the_side_of_a_step_is_half_the_slope_of_the_cost(loss: float) -> None:
    """With all weights in place, pixels and depth, known or not."""
    problem, state, _ = problem_of(*small(), np.zeros(4, bool))
    step = problem.normal_equations(state, problem.residuals(state, loss))
    side = np.concatenate([step.camera_side.ravel(), step.landmark_side.ravel(), [step.focal_side]])

    def cost(change: np.ndarray) -> np.ndarray:
        return np.array([problem.residuals(moved(state, change), loss).cost])

    np.testing.assert_allclose(
        -numeric_jacobian(cost, len(side))[0] / 2, side, rtol=1e-4, atol=1e-5 * np.abs(side).max()
    )


def test_a_pixel_that_is_far_off_takes_its_depth_along_but_not_the_other_way_round() -> None:
    truth, camera, landmark = scene(cameras=2, landmarks=3)
    observed = seen(truth, camera, landmark)
    observed.pixel[0] += 100
    observed.depth[1] *= 3
    problem, state, mine = problem_of(truth, observed)
    weight = problem.residuals(state, 2.0).weight
    far, deep = (int(np.flatnonzero((mine.camera == camera[i]) & (mine.landmark == landmark[i]))[0]) for i in (0, 1))
    assert (weight[far] < 1e-6).all()
    assert weight[deep, 2] < 1e-3
    assert (weight[deep, :2] >= 0.25).all()  # no depth can take more than that


def test_what_the_losses_leave_of_normal_information() -> None:
    """Efficiency: E[derivative of the slope]^2 / E[slope^2] (Huber 1981, section 3.2), over x, y and depth."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grids = np.meshgrid(nodes, nodes, nodes, indexing="ij")
    density = np.einsum("i,j,k->ijk", weights, weights, weights) / (2 * np.pi) ** 1.5

    def slope(at: tuple[np.ndarray, ...], which: int) -> np.ndarray:
        x, y, d = (a.ravel() for a in at)
        loss, weight = kernels._geman_mcclure(d**2, 2.0)
        both = kernels._geman_mcclure(x**2 + y**2 + loss, 2.0)[1]
        return (both * x if which == 0 else both * weight * d).reshape(at[0].shape)

    for which, efficiency in ((0, exactness.PIXEL_EFFICIENCY), (2, exactness.DEPTH_EFFICIENCY)):
        low, high = (slope(tuple(g + h * (i == which) for i, g in enumerate(grids)), which) for h in (-1e-4, 1e-4))
        curvature = (density * (high - low)).sum() / 2e-4
        assert curvature**2 / (density * slope(tuple(grids), which) ** 2).sum() == pytest.approx(efficiency, abs=3e-4)


@pytest.mark.parametrize("damping", [1e-4, 1.0])
@pytest.mark.parametrize("held", [[0], [0, 2], []])
def test_a_step_is_that_of_the_dense_system(damping: float, held: list[int]) -> None:
    """Schur's complement loses nothing: the same step as all unknowns at once, damped by the mean of each kind."""
    mask = np.isin(np.arange(4), held)
    problem, state, _ = problem_of(*small(), mask)
    matrix, side = dense_system(problem, state, mask)
    kinds = np.repeat(np.arange(4 * 3 + 12 + 1), [3, 3, 1] * 4 + [3] * 12 + [1])
    mean = np.bincount(kinds, np.diag(matrix)) / np.bincount(kinds)
    matrix[np.diag_indices_from(matrix)] += np.where(mean > 0, damping * mean, 1.0)[kinds]
    step = np.linalg.solve(matrix, side)
    trial, promised = problem.stepped(state, problem.residuals(state, 2.0), damping)
    expected = moved(state, step)
    for one, other in zip(trial, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6 * np.abs(step).max())
    assert promised == pytest.approx(step @ side, rel=1e-5)


def test_the_reduced_matrix_is_symmetric_and_that_of_the_dense_system() -> None:
    """The focal length is its border."""
    problem, state, _ = problem_of(*small())
    matrix, side = dense_system(problem, state, np.arange(4) == 0)
    step = problem.normal_equations(state, problem.residuals(state, 2.0))
    reduced = problem.reduced(step)
    kept, gone = np.r_[:28, 64], np.r_[28:64]
    kept_matrix, between, landmarks = matrix[np.ix_(kept, kept)], matrix[np.ix_(kept, gone)], matrix[np.ix_(gone, gone)]
    dense = kept_matrix - between @ np.linalg.solve(landmarks, between.T)
    border = reduced.border.reshape(28, 1)
    found = np.block([[reduced.matrix.toarray(), border], [border.T, np.array([[reduced.focal]])]])
    np.testing.assert_allclose(found, dense, atol=1e-6 * np.abs(kept_matrix).max())
    expected = side[kept] - between @ np.linalg.solve(landmarks, side[gone])
    np.testing.assert_allclose([*reduced.side.ravel(), reduced.focal_side], expected, atol=1e-6 * np.abs(side).max())


# -------------------------------------------------------------------------------------------------------------- oracles


def scipys_answer(start: Bundle, observed: Observations) -> tuple[Bundle, float]:
    """The same cost, written anew over rotation vectors, by scipy; the first camera stays."""
    cameras = len(start.depth_factor)

    def bundle_of(unknowns: np.ndarray) -> Bundle:
        pose = np.tile(np.eye(4), (cameras, 1, 1))
        pose[0] = start.camera_from_world[0]
        each = unknowns[: 6 * (cameras - 1)].reshape(-1, 6)
        pose[1:, :3, :3], pose[1:, :3, 3] = Rotation.from_rotvec(each[:, :3]).as_matrix(), each[:, 3:]
        factor, landmarks = np.split(unknowns[6 * (cameras - 1) :], [cameras])
        return Bundle(pose, np.exp(factor), landmarks.reshape(-1, 3))

    def residuals(unknowns: np.ndarray) -> np.ndarray:
        at = bundle_of(unknowns)
        x, y, z = np.einsum(
            "nij,nj->in",
            at.camera_from_world[observed.camera, :3],
            np.c_[at.landmarks, np.ones(len(at.landmarks))][observed.landmark],
        )
        off = np.stack([LENS.fx * x / z + LENS.cx, LENS.fy * y / z + LENS.cy], axis=1) - observed.pixel
        off /= NOISE.pixel
        far = np.log(z / observed.depth / at.depth_factor[observed.camera]) / NOISE.depth
        far = np.nan_to_num(far / np.sqrt(1 + far**2 / 4))
        each = np.column_stack([off, far])
        each /= np.sqrt(1 + np.square(each).sum(axis=1, keepdims=True) / 4)  # their squares are the losses
        return np.append(each.ravel(), np.log(at.depth_factor) / NOISE.map)

    pose = start.camera_from_world[1:]
    each = np.hstack([Rotation.from_matrix(pose[:, :3, :3]).as_rotvec(), pose[:, :3, 3]])
    unknowns = np.concatenate([each.ravel(), np.log(start.depth_factor), start.landmarks.ravel()])
    found = least_squares(residuals, unknowns, method="lm", x_scale="jac", ftol=1e-12, xtol=1e-10, gtol=1e-10)
    return bundle_of(found.x), 2 * found.cost


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("mismatches", [0.0, 0.15])
@pytest.mark.parametrize("seed", range(2))
def test_scipy_finds_the_same(mismatches: float, seed: int) -> None:
    """It begins at the truth, this one some pixels away."""
    truth, observed = noisy(seed, cameras=3, landmarks=12)
    observed, _ = with_mismatches(observed, mismatches)
    found = adjusted(shaken(truth), observed, LENS, NOISE)
    expected, cost = scipys_answer(truth, observed)
    close(found, expected, 1e-4)
    problem, state, _ = problem_of(found, observed)
    assert problem.residuals(state, 2.0).cost == pytest.approx(cost, rel=1e-8)


def pycolmaps_answer(start: Bundle, observed: Observations) -> Bundle:
    """Least squares of the pixels alone, by Ceres."""
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(
            camera_id=1,
            model="PINHOLE",
            width=LENS.width,
            height=LENS.height,
            params=[LENS.fx, LENS.fy, LENS.cx, LENS.cy],
        )
    )
    tracks = [pycolmap.Track() for _ in start.landmarks]
    for number, pose in enumerate(start.camera_from_world):
        mine = np.flatnonzero(observed.camera == number)
        points = [pycolmap.Point2D(pixel) for pixel in observed.pixel[mine]]
        image = pycolmap.Image(name=f"{number}", camera_id=1, image_id=number + 1, points2D=points)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose[:3]))
        for place, landmark in enumerate(observed.landmark[mine]):
            tracks[landmark].add_element(number + 1, place)
    numbers = [model.add_point3D(x, track) for x, track in zip(start.landmarks, tracks, strict=True)]
    options = pycolmap.BundleAdjustmentOptions(
        refine_focal_length=False, refine_extra_params=False, print_summary=False
    )
    options.ceres.solver_options.num_threads = 1
    options.ceres.solver_options.gradient_tolerance = 1e-12
    pycolmap.bundle_adjustment(model, options)
    poses = [
        np.vstack([model.images[i + 1].cam_from_world().matrix(), [0, 0, 0, 1]]) for i in range(len(start.depth_factor))
    ]
    return Bundle(np.array(poses), np.ones(len(poses)), np.array([model.points3D[number].xyz for number in numbers]))


def in_the_first_camera(of: Bundle) -> np.ndarray:
    """Landmarks, in units of the first step of the camera: the same whatever the unit of length."""
    pose = of.camera_from_world[0]
    step = np.linalg.norm(centres(of)[1] - centres(of)[0])
    return (of.landmarks @ pose[:3, :3].T + pose[:3, 3]) / step


@pytest.mark.usefixtures("to_the_end")
def test_pycolmap_finds_the_same_without_depth() -> None:
    """Where the loss does not flatten yet, it is least squares; nothing tells the unit of length."""
    truth, observed = noisy(5)
    start = shaken(truth)
    found = adjusted(start, blind(observed), LENS, Noise(pixel=1e4))
    expected = pycolmaps_answer(start, observed)
    np.testing.assert_allclose(in_the_first_camera(found), in_the_first_camera(expected), rtol=1e-4, atol=1e-4)


# ----------------------------------------------------------------------------------------------------------- properties


@settings(max_examples=6)
@given(seed=seeds, cameras=st.integers(2, 6), landmarks=st.integers(20, 60))
def test_exact_data_give_the_truth(seed: int, cameras: int, landmarks: int) -> None:
    truth, camera, landmark = scene(seed, cameras, landmarks)
    found = adjusted(shaken(truth, seed=seed), seen(truth, camera, landmark), LENS, NOISE)
    close(found, truth, 1e-6)
    assert residual_pixels(found, seen(truth, camera, landmark), LENS).max() < 1e-4


@settings(max_examples=6)
@given(seed=seeds)
def test_the_truth_stays_where_data_are_exact(seed: int) -> None:
    truth, camera, landmark = scene(seed)
    close(adjusted(truth, seen(truth, camera, landmark), LENS, NOISE), truth, 1e-8)


@settings(max_examples=6)
@given(other_from_world=rigid_transforms(), seed=st.integers(0, 3))
def test_a_motion_of_the_world_moves_the_answer(other_from_world: np.ndarray, seed: int) -> None:
    truth, observed = noisy(seed, cameras=4, landmarks=30)
    start = shaken(truth)
    there = moved_by(start, other_from_world)
    reach = 1 + np.abs(other_from_world[:3, 3]).max()  # rounding grows with it
    found, found_there = (adjusted(s, observed, LENS, NOISE) for s in (start, there))
    np.testing.assert_array_equal(found_there.camera_from_world[0], there.camera_from_world[0])
    expected = moved_by(found, other_from_world)
    np.testing.assert_allclose(found_there.landmarks, expected.landmarks, rtol=0, atol=1e-8 * reach)
    np.testing.assert_allclose(centres(found_there), centres(expected), rtol=0, atol=1e-8 * reach)
    np.testing.assert_allclose(found_there.depth_factor, found.depth_factor, atol=1e-8 * reach)


def moved_by(of: Bundle, other_from_world: np.ndarray) -> Bundle:
    landmarks = of.landmarks @ other_from_world[:3, :3].T + other_from_world[:3, 3]
    return Bundle(of.camera_from_world @ inverse(other_from_world), of.depth_factor, landmarks)


@settings(max_examples=6)
@given(factor=st.sampled_from([1e-6, 0.1, 3.0, 1e6]), seed=st.integers(0, 3))
def test_another_unit_of_length_is_that_of_the_answer(factor: float, seed: int) -> None:
    truth, observed = noisy(seed, cameras=4, landmarks=30)
    start = shaken(truth)
    found = adjusted(start, observed, LENS, NOISE)
    in_units = replace(observed, depth=factor * observed.depth)
    close(adjusted(times(start, factor), in_units, LENS, NOISE), times(found, factor), 1e-8 * max(1, factor))
    sigma = centre_sigma(times(found, factor), in_units, LENS, NOISE)
    np.testing.assert_allclose(sigma, factor * centre_sigma(found, observed, LENS, NOISE), rtol=1e-6)


def times(of: Bundle, factor: float) -> Bundle:
    """A bundle in another unit of length."""
    pose = of.camera_from_world.copy()
    pose[:, :3, 3] *= factor
    return Bundle(pose, of.depth_factor, factor * of.landmarks)


@settings(max_examples=6)
@given(order=st.randoms(use_true_random=False), seed=st.integers(0, 3))
def test_neither_order_nor_numbers_matter(order: st.DataObject, seed: int) -> None:
    truth, observed = noisy(seed, cameras=4, landmarks=30)
    start = shaken(truth)
    random = np.random.default_rng(order.getrandbits(32))
    rows, number = random.permutation(len(observed.camera)), random.permutation(30)
    found = adjusted(start, observed, LENS, NOISE)
    mixed = adjusted(start, chosen(observed, rows), LENS, NOISE)
    np.testing.assert_array_equal(mixed.landmarks, found.landmarks)  # each row has its place, bit by bit
    np.testing.assert_array_equal(mixed.camera_from_world, found.camera_from_world)
    renumbered = replace(start, landmarks=start.landmarks[np.argsort(number)])
    other = adjusted(renumbered, replace(observed, landmark=number[observed.landmark]), LENS, NOISE)
    close(replace(other, landmarks=other.landmarks[number]), found, 1e-8)


# ---------------------------------------------------------------------------------------------------- noise, mismatches


@pytest.mark.parametrize("seed", range(3))
def test_a_fifth_of_mismatches_changes_little(seed: int) -> None:
    truth, clean = noisy(seed, cameras=6, landmarks=150)
    observed, wrong = with_mismatches(clean, 0.2)
    start = shaken(truth)
    with_them, without = (adjusted(start, o, LENS, NOISE) for o in (observed, clean))
    sigma = centre_sigma(without, clean, LENS, NOISE)
    off = np.linalg.norm(centres(with_them) - centres(without), axis=1)
    assert (off <= sigma).all()
    off_pixels = residual_pixels(with_them, observed, LENS)
    found = off_pixels > 4 * NOISE.pixel
    assert found[wrong].mean() > 0.95
    assert found[~wrong].mean() < 0.03


@pytest.mark.parametrize("pixels", [20.0, 40.0])
def test_a_start_far_off_ends_at_the_same(pixels: float) -> None:
    """The loss begins wide: else all would look like mismatches, and stay so."""
    truth, observed = noisy(7, cameras=10, landmarks=300, views=4)
    observed, _ = with_mismatches(observed, 0.1)
    near, far = (adjusted(shaken(truth, p), observed, LENS, NOISE) for p in (1.0, pixels))
    sigma = centre_sigma(near, observed, LENS, NOISE)
    assert (np.linalg.norm(centres(near) - centres(far), axis=1) <= 0.1 * sigma).all()


def test_errors_are_as_large_as_their_standard_deviation() -> None:
    """Over 40 seeds, along the axis on which errors are largest: within what 40 can tell."""
    truth, camera, landmark = scene(8, cameras=4, landmarks=40)
    errors = []
    for seed in range(40):
        factor = np.random.default_rng(seed + 500).lognormal(0, NOISE.map, 4)
        drawn = replace(truth, depth_factor=factor)
        found = adjusted(drawn, seen(drawn, camera, landmark, NOISE, seed=seed), LENS, NOISE)
        errors.append(centres(found) - centres(truth))
    spread = [np.sqrt(np.linalg.eigvalsh(np.cov(e, rowvar=False))[-1]) for e in np.swapaxes(errors, 0, 1)[1:]]
    sigma = centre_sigma(truth, seen(truth, camera, landmark), LENS, NOISE)
    np.testing.assert_allclose(spread / sigma[1:], 1, atol=0.2)


@pytest.mark.parametrize("noise", [NOISE, UNSURE])
@pytest.mark.parametrize("held", [[0], [0, 3]])
def test_standard_deviations_are_those_of_the_dense_inverse(
    held: list[int], noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where not all cameras fit into one look-up; a focal length that is not sure makes all else less sure."""
    monkeypatch.setattr(exactness, "AT_ONCE", 2)
    truth, camera, landmark = scene(9, cameras=5, landmarks=20)
    mask = np.isin(np.arange(5), held)
    observed = seen(truth, camera, landmark)
    problem, state, _ = problem_of(truth, observed, mask, noise)
    information = exact_information(problem, state, mask)
    information = information if noise.focal else information[:-1, :-1]
    sigma = centre_sigma(truth, observed, LENS, noise, held=mask)
    covariance = np.linalg.pinv(information, hermitian=True, rcond=1e-13)
    blocks = [covariance[7 * i : 7 * i + 3, 7 * i : 7 * i + 3] for i in range(5)]
    np.testing.assert_allclose(
        sigma, [np.sqrt(max(0, np.linalg.eigvalsh(b)[-1])) for b in blocks], rtol=1e-4, atol=1e-9
    )
    assert (sigma[held] == 0).all()
    of_focal = noise.focal * np.sqrt(covariance[-1, -1]) if noise.focal else 0.0
    assert focal_sigma(truth, observed, LENS, noise, held=mask) == pytest.approx(of_focal, rel=1e-4)


def exact_information(problem: adjust.Problem, state: kernels.State, held: np.ndarray) -> np.ndarray:
    """J' W J of residuals that are 0, where the weights are what the losses leave of normal information."""
    weights = np.tile([0.7472, 0.7472, 0.5567], len(problem._measured))

    def weighed(step: np.ndarray) -> np.ndarray:
        there = moved(state, step)
        value = np.sqrt(weights) * problem.residuals(there, 2.0).value.ravel()
        return np.append(value, [*(there.log_factor / NOISE.map), there.log_focal / UNSURE.focal])

    cameras = len(held)
    jacobian = numeric_jacobian(weighed, 7 * cameras + 3 * len(state.landmarks) + 1)
    jacobian[:, : 7 * cameras].reshape(-1, cameras, 7)[:, held, :6] = 0
    return jacobian.T @ jacobian


# -------------------------------------------------------------------------------------------------------- what is known


def test_the_unit_of_length_is_that_of_the_depth_maps_together() -> None:
    truth, camera, landmark = scene(10, cameras=6)
    factor = np.array([0.9, 1.1, 0.95, 1.05, 1.0, 1.0])
    observed = seen(replace(truth, depth_factor=factor), camera, landmark)
    found = adjusted(shaken(truth), observed, LENS, Noise(0.5, 0.02, 0.05))
    unit = np.exp(-np.log(factor).mean())  # the factors that are most likely have the logarithm 0 in the mean
    np.testing.assert_allclose(found.depth_factor, factor * unit, rtol=2e-3)
    expected = centres(truth)[0] + unit * (centres(truth) - centres(truth)[0])
    np.testing.assert_allclose(centres(found), expected, atol=2e-3)


def test_depth_decides_where_the_camera_only_turns() -> None:
    truth, camera, landmark = scene(11, cameras=4, step=0.0)
    truth = replace(truth, camera_from_world=truth.camera_from_world.copy())
    truth.camera_from_world[:, :3, 3] = 0
    observed = seen(truth, camera, landmark, NOISE)
    start = shaken(truth, 1.0)
    found = adjusted(start, observed, LENS, NOISE)
    before, after = (np.abs(np.log(b.landmarks[:, 2] / truth.landmarks[:, 2])) for b in (start, found))
    assert np.median(after) < NOISE.depth
    sigma = centre_sigma(found, observed, LENS, NOISE)
    assert (np.linalg.norm(centres(found) - centres(found)[0], axis=1) <= 3 * sigma).all()  # no parallax that is one
    assert np.median(after) < np.median(before) + 0.05


def test_what_is_held_stays_and_the_others_follow() -> None:
    truth, observed = noisy(12, cameras=6, landmarks=100)
    held = np.arange(6) < 4
    start = shaken(truth)
    start = replace(
        start, camera_from_world=np.where(held[:, None, None], truth.camera_from_world, start.camera_from_world)
    )
    found = adjusted(start, observed, LENS, NOISE, held=held)
    np.testing.assert_array_equal(found.camera_from_world[held], truth.camera_from_world[held])
    sigma = centre_sigma(found, observed, LENS, NOISE, held=held)
    assert (sigma[held] == 0).all()
    off = np.linalg.norm(centres(found) - centres(truth), axis=1)
    assert (off[4:] <= 4 * sigma[4:]).all()
    assert (
        sigma[4:] < centre_sigma(found, observed, LENS, NOISE)[4:]
    ).all()  # with four cameras known, less is unknown


def test_all_cameras_held_leaves_landmarks_to_move() -> None:
    truth, camera, landmark = scene(13)
    start = replace(shaken(truth), camera_from_world=truth.camera_from_world)
    found = adjusted(start, seen(truth, camera, landmark), LENS, NOISE, held=np.ones(5, bool))
    np.testing.assert_array_equal(found.camera_from_world, truth.camera_from_world)
    np.testing.assert_allclose(found.landmarks, truth.landmarks, atol=1e-5)


# ---------------------------------------------------------------------------------------------- what nothing determines


def test_cameras_and_landmarks_that_are_not_seen_stay() -> None:
    truth, observed = noisy(14)
    kept = (observed.camera != 2) & (observed.landmark != 7)
    start = replace(shaken(truth), depth_factor=np.full(5, 1.1))
    found = adjusted(start, chosen(observed, kept), LENS, NOISE)
    np.testing.assert_array_equal(found.camera_from_world[2], start.camera_from_world[2])
    np.testing.assert_array_equal(found.landmarks[7], start.landmarks[7])
    assert found.depth_factor[2] == pytest.approx(1, abs=1e-6)
    rest = Bundle(*(np.delete(a, 2, axis=0) for a in (start.camera_from_world, start.depth_factor)), start.landmarks)
    part = chosen(observed, kept)
    alone = adjusted(rest, replace(part, camera=part.camera - (part.camera > 2)), LENS, NOISE)
    np.testing.assert_allclose(np.delete(found.camera_from_world, 2, axis=0), alone.camera_from_world, atol=1e-5)
    assert centre_sigma(found, part, LENS, NOISE)[2] == np.inf


def test_nothing_seen_changes_nothing() -> None:
    truth, observed = noisy(15)
    nothing = chosen(observed, np.zeros(0, np.int64))
    start = replace(shaken(truth), depth_factor=np.ones(5))
    close(adjusted(start, nothing, LENS, NOISE), start, 0.0)
    np.testing.assert_array_equal(centre_sigma(start, nothing, LENS, NOISE), [0, *[np.inf] * 4])
    assert len(residual_pixels(start, nothing, LENS)) == 0
    empty = Bundle(start.camera_from_world, start.depth_factor, np.zeros((0, 3)))
    close(adjusted(empty, nothing, LENS, NOISE), empty, 0.0)


@settings(max_examples=20)
@given(
    seed=seeds,
    cameras=st.integers(1, 5),
    landmarks=st.integers(1, 12),
    step=st.sampled_from([0.0, 1e-6, 0.2]),
    kept=st.floats(0, 1),
    known=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_whatever_is_seen_the_cost_falls_and_all_is_finite(
    seed: int, cameras: int, landmarks: int, step: float, kept: float, known: float
) -> None:
    """Next to nothing, without depth, without parallax: no system is singular, nothing runs away."""
    truth, camera, landmark = scene(seed, cameras, landmarks, step=step)
    random = np.random.default_rng(seed)
    rows = np.flatnonzero(random.random(len(camera)) < kept)
    observed = seen(truth, camera[rows], landmark[rows], NOISE, seed=seed)
    observed = replace(observed, depth=np.where(random.random(len(rows)) < known, observed.depth, np.nan))
    start = shaken(truth, seed=seed)
    found = adjusted(start, observed, LENS, UNSURE)
    assert np.abs(found.landmarks).max() < 1e4
    sigma = centre_sigma(found, observed, LENS, UNSURE)
    assert (sigma >= 0).all()
    assert 0 < focal_sigma(found, observed, LENS, UNSURE) < UNSURE.focal * (1 + 1e-9)
    problem, state, _ = problem_of(start, observed)
    assert problem.residuals(adjust.state_of(found), 2.0).cost <= problem.residuals(state, 2.0).cost + 1e-9


def test_landmarks_of_one_camera_change_no_camera() -> None:
    """With depth they go where that says; without, they keep their distance; on the axis of the camera, too."""
    truth, observed = noisy(16)
    start = shaken(truth)
    without = adjusted(start, observed, LENS, NOISE)
    more = np.array([[0.3, 0.2, 4.0], [0.1, 0.1, 3.0], [0.0, 0.0, 5.0]]) - truth.camera_from_world[0, :3, 3]
    more = more @ truth.camera_from_world[0, :3, :3]
    pixel = project(np.array([[0.3, 0.2, 4.0], [0.1, 0.1, 3.0], [0.0, 0.0, 5.0]]), LENS)
    added = Observations(
        np.r_[observed.camera, 0, 0, 0],
        np.r_[observed.landmark, 60, 61, 62],
        np.vstack([observed.pixel, pixel + 0.5]),
        np.r_[observed.depth, 4.4, np.nan, np.nan],
    )
    found = adjusted(replace(start, landmarks=np.vstack([start.landmarks, more])), added, LENS, NOISE)
    np.testing.assert_allclose(found.camera_from_world, without.camera_from_world, atol=1e-3)
    place = found.landmarks[60:] @ found.camera_from_world[0, :3, :3].T + found.camera_from_world[0, :3, 3]
    np.testing.assert_allclose(project(place, LENS), pixel + 0.5, atol=1e-2)
    np.testing.assert_allclose(place[:, 2], [4.4 * found.depth_factor[0], 3.0, 5.0], rtol=1e-2)


def test_landmarks_behind_a_camera_harm_nothing() -> None:
    """They count as mismatches; those that begin in front of one camera and behind another come to the front."""
    truth, observed = noisy(17, cameras=5, landmarks=100)
    start = shaken(truth, 1.0)
    landmarks = start.landmarks.copy()
    landmarks[:5, 2] *= -1
    found = adjusted(replace(start, landmarks=landmarks), observed, LENS, NOISE)
    np.testing.assert_array_equal(found.landmarks[:5], landmarks[:5])  # behind all of them: nothing pulls
    sigma = centre_sigma(found, observed, LENS, NOISE)
    assert (np.linalg.norm(centres(found) - centres(truth), axis=1) <= 4 * sigma).all()
    off = residual_pixels(found, observed, LENS)
    np.testing.assert_array_equal(np.isinf(off), observed.landmark < 5)


def test_to_go_behind_a_camera_is_never_cheaper() -> None:
    """The cost is continuous there, so that no step is drawn to it."""
    truth, camera, landmark = scene(18, cameras=2, landmarks=1)
    observed = seen(truth, camera, landmark)
    problem, state, _ = problem_of(truth, observed)
    pose = inverse(truth.camera_from_world)[0]
    nearest = 1e-3 * np.median(np.sort(observed.depth))

    def cost(depth: float) -> float:
        place = pose[:3, :3] @ [0.02 * depth, 0.01 * depth, depth] + pose[:3, 3]
        return problem.residuals(state._replace(landmarks=place[None]), 2.0).cost

    before, behind = cost(1.01 * nearest), cost(0.99 * nearest)
    assert behind == pytest.approx(before, rel=1e-2)
    assert cost(-3.0) >= before * 0.99


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_depth_that_is_unknown_says_nothing(share: float) -> None:
    truth, observed = noisy(19, cameras=6, landmarks=100)
    depth = np.where(np.random.default_rng(0).random(len(observed.depth)) < share, np.nan, observed.depth)
    found = adjusted(shaken(truth), replace(observed, depth=depth), LENS, NOISE)
    sigma = centre_sigma(found, replace(observed, depth=depth), LENS, NOISE)
    assert (np.linalg.norm(centres(found) - centres(truth), axis=1) <= 4 * sigma).all()


def test_without_depth_the_unit_of_length_is_unknown_but_all_else_found() -> None:
    truth, camera, landmark = scene(20)
    observed = blind(seen(truth, camera, landmark))
    found = adjusted(shaken(truth), observed, LENS, NOISE)
    np.testing.assert_allclose(in_the_first_camera(found), in_the_first_camera(truth), rtol=1e-4)
    np.testing.assert_array_equal(found.depth_factor, 1)
    far = np.linalg.norm(centres(found) - centres(found)[0], axis=1)
    assert (centre_sigma(found, observed, LENS, NOISE)[1:] > 5 * far[1:]).all()


# --------------------------------------------------------------------------------------------------------- focal length


def wrong(by: float) -> Intrinsics:
    """A lens whose focal length is said to be longer than it is."""
    return replace(LENS, fx=by * LENS.fx, fy=by * LENS.fy)


@settings(max_examples=6)
@given(seed=seeds, by=st.floats(0.85, 1.18))
def test_exact_data_give_the_focal_length(seed: int, by: float) -> None:
    truth, camera, landmark = scene(seed, 6, 60)
    observed = seen(truth, camera, landmark)
    noise = Noise(pixel=0.01, depth=0.08, map=0.05, focal=10.0)  # nothing is known beforehand
    found = adjusted(shaken(truth, seed=seed), observed, wrong(by), noise)
    assert by * found.focal_factor == pytest.approx(1, abs=1e-6)
    close(replace(found, focal_factor=1.0), truth, 1e-5)
    assert residual_pixels(found, observed, wrong(by)).max() < 1e-3
    lens = found.zoomed(wrong(by))
    np.testing.assert_allclose([lens.fx, lens.fy], [LENS.fx, LENS.fy], rtol=1e-6)
    assert (lens.cx, lens.cy, lens.width, lens.height) == (LENS.cx, LENS.cy, LENS.width, LENS.height)


def test_a_focal_length_that_is_nearly_sure_stays_and_a_sure_one_stays_exactly() -> None:
    truth, observed = noisy(22)
    start = shaken(truth)
    held = adjusted(start, observed, LENS, NOISE)
    assert held.focal_factor == 1
    assert focal_sigma(held, observed, LENS, NOISE) == 0
    nearly = adjusted(start, observed, LENS, replace(NOISE, focal=1e-7))
    close(nearly, held, 1e-6)
    assert focal_sigma(nearly, observed, LENS, replace(NOISE, focal=1e-7)) == pytest.approx(1e-7, rel=1e-3)
    np.testing.assert_allclose(
        centre_sigma(held, observed, LENS, replace(NOISE, focal=1e-7)),
        centre_sigma(held, observed, LENS, NOISE),
        rtol=1e-4,
    )


def test_a_focal_length_that_was_found_is_kept_where_it_is_sure() -> None:
    """Held at the start, not at the intrinsics: these are the same pictures through the same lens."""
    truth, observed = noisy(23)
    zoomed = replace(shaken(truth), focal_factor=1 / 1.05)
    found = adjusted(zoomed, observed, wrong(1.05), NOISE)
    assert found.focal_factor == pytest.approx(1 / 1.05, rel=1e-12)
    close(replace(found, focal_factor=1.0), adjusted(shaken(truth), observed, LENS, NOISE), 1e-9)


def test_the_focal_length_errs_by_its_standard_deviation() -> None:
    """Over 40 seeds: within what 40 can tell. A prior as wide as the data are sharp counts for half."""
    truth, camera, landmark = scene(8, cameras=5, landmarks=60)
    exact = seen(truth, camera, landmark)
    noise = replace(NOISE, focal=focal_sigma(truth, exact, LENS, replace(NOISE, focal=10.0)))
    assert focal_sigma(truth, exact, LENS, noise) == pytest.approx(noise.focal / np.sqrt(2), rel=1e-3)
    errors = []
    for seed in range(40):
        random = np.random.default_rng(seed + 500)
        drawn = replace(truth, depth_factor=random.lognormal(0, NOISE.map, 5))
        by = random.lognormal(0, noise.focal)
        found = adjusted(drawn, seen(drawn, camera, landmark, NOISE, seed=seed), wrong(by), noise)
        errors.append(np.log(by * found.focal_factor))
    assert np.std(errors) == pytest.approx(noise.focal / np.sqrt(2), rel=0.25)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(40)


def test_more_movement_tells_more_of_the_focal_length() -> None:
    """A camera that neither moves nor turns says nothing of it, nor do pictures of nothing."""

    def sigma(step: float, turn: float, noise: Noise = UNSURE) -> float:
        truth, camera, landmark = scene(24, cameras=6, landmarks=200, step=step)
        world_from_camera = np.tile(np.eye(4), (6, 1, 1))
        world_from_camera[:, 0, 3] = step * np.arange(6)
        turns = turn * np.linspace(-1, 1, 6)[:, None] * [0, 1, 0]
        world_from_camera[:, :3, :3] = Rotation.from_rotvec(turns).as_matrix()
        truth = replace(truth, camera_from_world=inverse(world_from_camera))
        return focal_sigma(truth, seen(truth, camera, landmark), LENS, noise)

    still, turning, moving, both = sigma(0.0, 0.0), sigma(0.0, 0.3), sigma(0.2, 0.0), sigma(0.2, 0.3)
    assert still == pytest.approx(UNSURE.focal, rel=1e-3)
    assert turning < 0.05 * UNSURE.focal  # Hartley 1994: a camera that turns calibrates itself
    assert both < 0.5 * moving < 0.5 * still
    truth, observed = noisy(15)
    nothing = chosen(observed, np.zeros(0, np.int64))
    found = adjusted(replace(truth, focal_factor=1.1), nothing, LENS, UNSURE)
    assert found.focal_factor == pytest.approx(1, abs=1e-6)  # the most likely one
    assert focal_sigma(found, nothing, LENS, UNSURE) == pytest.approx(UNSURE.focal)


def test_held_cameras_tell_the_focal_length_best() -> None:
    truth, observed = noisy(25, cameras=6, landmarks=100)
    start = replace(shaken(truth), camera_from_world=truth.camera_from_world)
    held = np.ones(6, bool)
    found = adjusted(start, observed, wrong(1.1), UNSURE, held=held)
    np.testing.assert_array_equal(found.camera_from_world, truth.camera_from_world)
    sigma = focal_sigma(found, observed, wrong(1.1), UNSURE, held=held)
    assert abs(np.log(1.1 * found.focal_factor)) < 3 * sigma
    assert sigma < focal_sigma(found, observed, wrong(1.1), UNSURE)


# ------------------------------------------------------------------------------------------------------ size of errors


@pytest.mark.parametrize("noise", [NOISE, Noise(0.3, 0.03, 0.1), Noise(1.0, 0.2, 0.2)])
def test_noise_is_found_from_what_an_adjustment_leaves(noise: Noise) -> None:
    """Also where the adjustment believed in another noise, as the first one does."""
    truth, camera, landmark = scene(26, cameras=40, landmarks=800, views=8)
    truth = replace(truth, depth_factor=np.random.default_rng(27).lognormal(0, noise.map, 40))
    observed = seen(truth, camera, landmark, noise)
    found = noise_of(adjusted(shaken(truth), observed, LENS, Noise(0.5, 0.2, 0.3)), observed, LENS)
    assert found is not None
    assert found.pixel == pytest.approx(noise.pixel, rel=0.25)
    assert found.depth == pytest.approx(noise.depth, rel=0.25)
    assert found.map == pytest.approx(noise.map, rel=0.4)
    assert found.focal == 0


def test_errors_of_depth_that_neighbours_share_count_for_more() -> None:
    """The same size, but smooth over the picture: they do not average out, and so are believed to be larger."""
    truth, camera, landmark = scene(28, cameras=20, landmarks=1500, views=5)
    exact = seen(truth, camera, landmark, Noise(0.5, 1e-9, 1e-9))
    random = np.random.default_rng(29)
    waves = [random.normal(0, 5, (1, 2)) / LENS.width @ exact.pixel.T for _ in range(12)]
    smooth = sum(np.sin(wave[0] + random.uniform(0, 2 * np.pi, 20)[exact.camera]) for wave in waves)
    mixed = np.empty_like(smooth)
    for number in range(20):  # the same errors, at other places of the same picture
        mine = np.flatnonzero(exact.camera == number)
        smooth[mine] = 0.1 * (smooth[mine] - smooth[mine].mean()) / smooth[mine].std()  # a mean would be the map's
        mixed[mine] = smooth[np.random.default_rng(number).permutation(mine)]
    found = [noise_of(truth, replace(exact, depth=exact.depth * np.exp(error)), LENS) for error in (mixed, smooth)]
    assert None not in found
    independent, alike = (each.depth for each in found if each is not None)
    assert independent == pytest.approx(0.1, rel=0.2)  # within a picture they are not quite normal
    assert alike > 3 * independent
    assert alike < 7 * independent  # neighbours never count as wholly alike


def test_errors_of_depth_that_come_back_from_map_to_map_count_for_more() -> None:
    """One and the same for all five values of a landmark: they say no more than one of them."""
    truth, camera, landmark = scene(33, cameras=20, landmarks=1500, views=5)
    exact = seen(truth, camera, landmark, Noise(0.5, 1e-9, 1e-9))
    error = np.random.default_rng(34).normal(0, 0.1, 1500)[landmark]
    found = noise_of(truth, replace(exact, depth=exact.depth * np.exp(error)), LENS)
    assert found is not None
    assert found.depth == pytest.approx(0.1 * np.sqrt(5), rel=0.1)


def test_noise_is_never_believed_to_be_nothing() -> None:
    truth, camera, landmark = scene(30, cameras=10, landmarks=200, views=6)
    found = noise_of(truth, seen(truth, camera, landmark), LENS)
    assert found is not None
    assert (found.pixel, found.map) == (0.15, 0.01)
    assert found.depth >= 0.01


@pytest.mark.parametrize(("cameras", "landmarks", "views"), [(5, 30, 5), (30, 300, 2)])
def test_too_little_tells_no_noise(cameras: int, landmarks: int, views: int) -> None:
    """Too few depths, or no more observations than unknowns."""
    truth, camera, landmark = scene(31, cameras, landmarks, views=views)
    assert noise_of(truth, seen(truth, camera, landmark, NOISE), LENS) is None


def test_noise_of_pixels_is_that_of_normal_errors_whatever_the_mismatches() -> None:
    truth, camera, landmark = scene(32, cameras=40, landmarks=800, views=8)
    observed, _ = with_mismatches(seen(truth, camera, landmark, NOISE), 0.1)
    found = noise_of(adjusted(shaken(truth), observed, LENS, NOISE), observed, LENS)
    assert found is not None
    assert found.pixel == pytest.approx(NOISE.pixel, rel=0.3)
    assert found.depth == pytest.approx(NOISE.depth, rel=0.3)


# ------------------------------------------------------------------------------------------------------------- the rest


def test_residuals_are_distances_in_pixels() -> None:
    here = Bundle(np.eye(4)[None], np.ones(1), np.array([[0.0, 0.0, 2.0], [0.0, 0.0, -2.0]]))
    observed = Observations(
        np.array([0, 0]), np.array([0, 1]), np.array([[LENS.cx + 3, LENS.cy - 4]] * 2), np.array([2.0, np.nan])
    )
    np.testing.assert_allclose(residual_pixels(here, observed, LENS), [5, np.inf])


def test_memory_is_that_of_what_is_seen() -> None:
    """700 cameras have 4900 unknowns; a full matrix of them takes 192 MB."""
    truth, camera, landmark = scene(21, cameras=700, landmarks=2000, views=4)
    observed = seen(truth, camera, landmark)
    tracemalloc.start()
    adjusted(truth, observed, LENS, NOISE)
    centre_sigma(truth, observed, LENS, NOISE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_what_cannot_be_meant_is_refused() -> None:
    truth, camera, landmark = scene()
    observed = seen(truth, camera, landmark)
    for wrong, message in (
        ({"depth": np.zeros(300)}, "depth"),
        ({"depth": np.full(300, np.inf)}, "depth"),
        ({"pixel": np.full((300, 2), np.nan)}, "pixel"),
        ({"camera": camera - 1}, "negative"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(observed, **wrong)
    for number, message in (({"camera": camera + 1}, "camera 5"), ({"landmark": landmark + 1}, "landmark 60")):
        with pytest.raises(ValueError, match=message):
            adjusted(truth, replace(observed, **number), LENS, NOISE)
    with pytest.raises(ValueError, match="5 cameras are held or not, got 4"):
        adjusted(truth, observed, LENS, NOISE, held=np.zeros(4, bool))
    with pytest.raises(ValueError, match="positive"):
        Noise(pixel=0.0)
    with pytest.raises(ValueError, match="positive"):
        replace(truth, depth_factor=np.zeros(5))
    for unsure in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="focal length"):
            replace(NOISE, focal=unsure)
    for factor in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="factor of the focal length"):
            replace(truth, focal_factor=factor)
    with pytest.raises(ValueError, match="finite"):
        replace(truth, landmarks=np.full((60, 3), np.nan))


def test_the_unit_of_length_is_where_the_depth_maps_are_right_in_the_mean() -> None:
    """No pixel moves, and the cost is least there of all lengths."""
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, :3, 3] = rng.normal(0, 0.3, (5, 3))
    start = Bundle(poses, rng.uniform(0.3, 0.6, 5), rng.uniform([-1, -1, 3], [1, 1, 6], (40, 3)))
    found = start.in_unit_of_depth()
    assert np.log(found.depth_factor).mean() == pytest.approx(0, abs=1e-12)
    camera, landmark = (each.ravel() for each in np.indices((5, 40)))
    views = Observations(camera, landmark, rng.uniform(0, 400, (200, 2)), np.full(200, np.nan))
    np.testing.assert_allclose(residual_pixels(found, views, LENS), residual_pixels(start, views, LENS), rtol=1e-9)
    ratio = found.landmarks / start.landmarks
    assert ratio.min() == pytest.approx(ratio.max()) == pytest.approx(found.depth_factor[0] / start.depth_factor[0])
