"""Which networks a run uses: what the settings name, or the best that is found."""

import logging
from pathlib import Path
from typing import Any

import torch

from recon.errors import MissingPackageError, OptionError
from recon.files import sha256_of
from recon.models import DisparityNetwork, MetricNetwork, moge, video_depth, weights
from recon.models.weights import KnownWeights, MissingWeightsError, OnDownload
from recon.settings import AnchorSettings, NetworkSettings

log = logging.getLogger(__name__)

TRANSFORMERS = "transformers:"
BEST, STAND_IN = "vda-s", "depth-anything-v2-s"
"""What ``auto`` wants, and what it takes instead."""
MOGE_BEST_FIRST = ("moge-3-vitl", "moge-2-vitl-normal", "moge-2-vitb-normal", "moge-2-vits-normal")


def choose_network(settings: NetworkSettings, *, on_download: OnDownload | None = None) -> DisparityNetwork[Any]:
    """The network for depth that the settings ask for, loaded.

    ``auto`` takes Video Depth Anything Small, found or downloaded; else Depth Anything V2 Small, if it is found; else
    the small model that ships with recon, once one does.

    Raises:
        OptionError: no such model, or options that do not go together.
        WeightsError: the weights are not here and cannot be downloaded, or cannot be read.
        MissingPackageError: a package that the model needs is not installed.
    """
    if settings.model.startswith(TRANSFORMERS):
        return _from_transformers(settings, on_download)
    if settings.model == "auto" and settings.weights is None:
        return _automatic(settings, on_download)
    wanted = _of_file(settings.weights) if settings.model == "auto" and settings.weights else _named(settings.model)
    if settings.weights is not None:
        weights.given(settings.weights, "--weights")
    path = weights.fetch(wanted, explicit=settings.weights, download=settings.download, on_download=on_download)
    return _loaded(wanted, path, settings)


def _named(model: str) -> KnownWeights:
    names = [entry.name for entry in weights.KNOWN if _for_videos(entry)]
    if model not in names:
        raise OptionError(f"--model {model}: known are auto, {', '.join(names)} and {TRANSFORMERS}REPOSITORY")
    return weights.known(model)


def _of_file(path: Path) -> KnownWeights:
    """The network that a file is for, by its published name; the larger ones begin alike, so the whole stem counts."""
    weights.given(path, "--weights")
    for entry in weights.KNOWN:
        if _for_videos(entry) and _is_called(path, entry):
            return entry
    raise OptionError(f"--weights {path}: the name does not say which network the file is for; add --model NAME")


def _is_called(path: Path, entry: KnownWeights) -> bool:
    """By its own name; or where that is as general as model.pt, by its repository's, as file or as folder."""
    stem = Path(entry.file).stem
    return path.stem == stem if stem != "model" else entry.folder in {path.stem, path.parent.name}


def _for_videos(entry: KnownWeights) -> bool:
    """Whether recon runs it frame by frame or window by window; the others go through transformers."""
    return entry.family != "transformers"


def _automatic(settings: NetworkSettings, on_download: OnDownload | None) -> DisparityNetwork[Any]:
    best, why = weights.known(BEST), "downloads are switched off"
    path = weights.find(best)
    if path is None and settings.download:
        try:
            path = weights.download_file(best, on_download)
        except MissingWeightsError as error:
            why = str(error)
            log.info("%s is not here and was not downloaded: %s", weights.describe(best), why)
    if path is not None:
        return _loaded(best, path, settings)
    if (path := weights.find(weights.known(STAND_IN))) is not None:
        log.warning(
            "without %s, %s is used: it sees single pictures only, so depth will flicker from frame to frame",
            Path(best.file).name,
            path,
        )
        return _loaded(weights.known(STAND_IN), path, settings)
    return _shipped() or _nothing_found(best, why)


def _shipped() -> DisparityNetwork[Any] | None:
    """The small model that ships with recon: there is none yet, and this is its place in the order."""
    return None


def _nothing_found(best: KnownWeights, why: str) -> DisparityNetwork[Any]:
    raise weights.missing(best, why)


def _loaded(entry: KnownWeights, path: Path, settings: NetworkSettings) -> DisparityNetwork[Any]:
    """The one call to the adapter of Video Depth Anything, and to that of MoGe."""
    if entry.family in {"moge-2", "moge-3"}:
        _ignore_input_size(settings, "MoGe chooses its own")
        execution = video_depth.Execution.chosen(0, settings.device, settings.precision)
        return moge.MogeFrames.load(path, name=entry.name, execution=execution)
    if entry.encoder is None:
        raise ValueError(f"{entry.name} has no encoder of its own")
    spec = video_depth.NetworkSpec(
        name=entry.name, size=entry.encoder, metric=entry.family == "vda-metric", sha256=sha256_of(path)
    )
    return video_depth.VideoDepthNetwork.load(
        path, spec, input_size=settings.input_size, device=settings.device, precision=settings.precision
    )


def _from_transformers(settings: NetworkSettings, on_download: OnDownload | None) -> DisparityNetwork[Any]:
    from recon.models import hub  # noqa: PLC0415 - with its optional package

    if settings.weights is not None:
        raise OptionError(f"--weights goes with models of recon's own; name a folder: --model {TRANSFORMERS}FOLDER")
    _ignore_input_size(settings, "models of transformers come with a size of their own")
    repository = settings.model.removeprefix(TRANSFORMERS)
    folder = hub.folder_of(repository, download=settings.download, on_download=on_download)
    return hub.HubNetwork.load(folder, name=settings.model, device=settings.device, precision=settings.precision)


def _ignore_input_size(settings: NetworkSettings, why: str) -> None:
    if settings.input_size != NetworkSettings().input_size:
        log.warning("--input-size is ignored: %s", why)


# ---------------------------------------------------------------------------------------------------------- metres


def choose_metric(
    settings: AnchorSettings, *, device: str = "auto", download: bool = True, on_download: OnDownload | None = None
) -> MetricNetwork | None:
    """The network for metres that the settings ask for, loaded.

    None where they want none, or do not insist and it cannot be had. MoGe-1 is taken where its file is named; it knows
    the camera only (``MetricNetwork.metric``).

    Of several MoGe that are found the largest counts. Where none is, ``moge-2-vitl-normal`` is downloaded for CUDA and
    ``moge-2-vits-normal`` otherwise; on a CPU it works with the fewest patches that it was trained on.

    Raises:
        MissingPackageError: they insist (``insists_on_moge``) and its package is missing.
        WeightsError: they insist and no weights are found; or the file that is named is not fit.
        OptionError: the device is not there.
    """
    if settings.anchor == "none":
        return None
    place = video_depth.Execution.chosen(0, device, "fp32").device
    try:
        moge.module(2)
        name, path = _moge_weights(settings, place, download=download, on_download=on_download)
    except (MissingPackageError, MissingWeightsError) as error:
        if insists_on_moge(settings):
            raise
        log.info("MoGe, which knows metres and fields of view, is not used: %s", error)
        return None
    detail = moge.Detail(resolution_level=0) if place.type == "cpu" else moge.Detail()
    return moge.MogeNetwork.load(path, name=name, device=place, detail=detail)


def insists_on_moge(settings: AnchorSettings) -> bool:
    """Whether a run with these settings cannot do without MoGe, so that it must not be replaced."""
    wanted = {
        "first": settings.first_frame_depth is None and settings.metric_depth is None,
        "frames": settings.metric_depth is None,
    }
    return wanted.get(settings.anchor, False) or settings.moge_weights is not None or settings.scale_from == "moge"


def _moge_weights(
    settings: AnchorSettings, place: torch.device, *, download: bool, on_download: OnDownload | None
) -> tuple[str, Path]:
    """Name and file: what the user names, else the best that is found and can run here, else one to download."""
    if settings.moge_weights is not None:
        return settings.moge_weights.stem, weights.given(settings.moge_weights, "--moge-weights FILE")
    fit = [name for name in MOGE_BEST_FIRST if name != "moge-3-vitl" or (place.type == "cuda" and moge.available(3))]
    for entry in map(weights.known, fit):
        if (path := weights.find(entry)) is not None:
            return entry.name, path
    entry = weights.known("moge-2-vitl-normal" if place.type == "cuda" else "moge-2-vits-normal")
    return entry.name, weights.fetch(entry, download=download, on_download=on_download)
