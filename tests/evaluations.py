"""Evaluations made by hand, and by hypothesis, for the tests of reports."""

from collections.abc import Mapping, Sequence
from math import nan

from hypothesis import strategies as st

from recon.evaluation.measures import MEASURES, ClipScores, Evaluation, FrameScores, Values, mean_values

FRAME_KEYS = [key for key, measure in MEASURES.items() if measure.of == "frame"]
WHOLE = {"wander": 0.0123, "drift": -0.004}


def frame(index: int, *, valid: int = 1000, **values: float) -> FrameScores:
    return FrameScores(index, f"{index:06d}", index / 10, valid, values)


def clip(name: str, frames: Sequence[FrameScores], whole: Values = WHOLE) -> ClipScores:
    means = mean_values(each.values for each in frames)
    return ClipScores(name, {**means, **whole}, tuple(frames), ((1.5, -0.25),))


def errors(name: str, *abs_rel: float) -> ClipScores:
    """A clip whose frames have these AbsRel."""
    return clip(name, [frame(index, abs_rel=value) for index, value in enumerate(abs_rel)], {})


def evaluation(
    *clips: ClipScores,
    method: str = "vda",
    dataset: str = "kitti-110",
    protocol: str = "corrected",
    provenance: Mapping[str, object] | None = None,
) -> Evaluation:
    return Evaluation(dataset, method, protocol, provenance or {"recon": "0.1.0"}, clips)


def small() -> Evaluation:
    """Two clips; the first frame has no TAE, the second clip no boundary; names that need care."""
    walk = [
        frame(0, abs_rel=0.08, delta1=0.95, tae=nan, boundary_f1=0.3),
        frame(1, abs_rel=0.1, delta1=0.91, tae=0.7, boundary_f1=0.25),
    ]
    drive = [frame(3, valid=512, abs_rel=0.25, delta1=0.5, tae=1.25, boundary_f1=nan)]
    provenance = {
        "recon": "0.1.0",
        "method": {"name": "vits", "weights": None, "sizes": [518, 924]},
        "rules": {"frames": 110},
    }
    drives = clip('drive | "2", <b>x</b>', drive, {"wander": 0.0, "drift": nan})
    return evaluation(clip("walk_1", walk), drives, method="VDA *small*", provenance=provenance)


numbers = st.floats()  # NaN and both infinities included
texts = st.text(max_size=12)


Facts = dict[str, object]


@st.composite
def plain_evaluations(draw: st.DrawFn) -> Facts:
    """Anything that an ``Evaluation`` can be, for ``built``: odd names, odd numbers, no clips, no frames."""
    values = st.dictionaries(st.sampled_from(sorted(MEASURES)), numbers, max_size=4)
    frame = st.fixed_dictionaries(
        {"index": st.integers(0, 999), "name": texts, "time": numbers, "valid": st.integers(0), "values": values}
    )
    frames = st.lists(frame, max_size=3, unique_by=lambda each: (each["index"], each["name"]))
    fits = st.lists(st.tuples(numbers, numbers), max_size=2)
    clip = st.fixed_dictionaries({"name": texts, "values": values, "frames": frames, "fits": fits})
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
    facts = st.recursive(leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2))
    provenance = st.dictionaries(texts, facts, max_size=3)
    clips = st.lists(clip, max_size=3, unique_by=lambda each: each["name"])
    names = {"dataset": texts, "method": texts, "protocol": texts}
    return draw(st.fixed_dictionaries({**names, "provenance": provenance, "clips": clips}))


def built(plain: Facts) -> Evaluation:
    """The evaluation. (Not within the strategy: beartype draws random numbers, which hypothesis forbids there.)"""
    clips = []
    for each in plain["clips"]:  # type: ignore[attr-defined]
        frames = tuple(FrameScores(**frame) for frame in each["frames"])
        clips.append(ClipScores(each["name"], each["values"], frames, tuple(each["fits"])))
    return Evaluation(**plain | {"clips": tuple(clips)})  # type: ignore[arg-type]
