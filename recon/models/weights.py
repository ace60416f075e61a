"""Which weights are known, where they are looked for, and how they are fetched: never without a checksum.

The order is: the file that the user names; the folder ``RECON_WEIGHTS``; the cache of the Hugging Face hub
(``HF_HUB_CACHE``, ``HF_HOME``); a download from the hub into that cache. ``HF_HUB_OFFLINE`` and ``HF_ENDPOINT`` are
honoured. Nothing is printed: progress goes to a callback of the caller's.
"""

import hashlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock
from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    get_session,
    get_token,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from recon.errors import OptionError, WeightsError
from recon.files import sha256_of

log = logging.getLogger(__name__)

Family = Literal["vda", "vda-metric", "depth-anything-v2", "moge-2", "moge-3", "transformers"]
Encoder = Literal["vits", "vitb", "vitl"]
OnDownload = Callable[[str, int, int | None], None]
"""Told of a download as it goes: name of the file, bytes that are here, bytes in all (None where not known)."""

FOLDER_VARIABLE = "RECON_WEIGHTS"
SUFFIXES = (".safetensors", ".pth", ".pt")
PATIENCE_VARIABLE = "HF_HUB_ETAG_TIMEOUT"
PATIENCE = 4.0
"""Seconds that the hub has to answer before a run goes on without it, unless HF_HUB_ETAG_TIMEOUT says otherwise."""
STALL = 20.0
"""Seconds without a byte after which a download counts as interrupted."""
ATTEMPTS = 5
"""Interruptions in a row, without one new byte, after which a download gives up."""

T = TypeVar("T")


class MissingWeightsError(WeightsError):
    """Weights that are not on this machine, and do not come either."""


class HubUnreachableError(MissingWeightsError):
    """The hub cannot be asked: no network, offline mode, or its servers do not answer."""


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """One file of weights that recon knows."""

    name: str
    """What ``--model`` calls it."""
    family: Family
    encoder: Encoder | None
    repository: str
    """Repository on the Hugging Face hub."""
    file: str
    """Name of the file in that repository."""
    licence: str
    """SPDX name of the licence of the weights; "unknown" where recon has not looked."""
    about: str
    size: int | None = None
    """Bytes; None where no source is known."""
    sha256: str | None = None
    """None where no source is known: then the hub's own checksum alone is held against the download."""

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return "-NC-" in self.licence

    @property
    def option(self) -> str:
        """The option of the command line that takes what was brought here by hand."""
        if self.family == "transformers":
            return "--model transformers:FOLDER"
        anchor = "--moge-weights FILE (--weights FILE, if it is the --model)"
        return anchor if self.family.startswith("moge") else "--weights FILE"

    @property
    def folder(self) -> str:
        """Name of the sub-folder of RECON_WEIGHTS that may hold the file: the repository without its owner."""
        return self.repository.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Located:
    """A line of ``recon models``."""

    weights: KnownWeights
    path: Path | None
    """Where the file was found, if it was."""
    how_to_get: str
    """The command that fetches it on a machine with network."""


def _vda(size: str, encoder: Encoder, licence: str, length: int, sha256: str) -> KnownWeights:
    about = f"Video Depth Anything {size}, relative: consistent disparity of videos"
    repository, file = f"depth-anything/Video-Depth-Anything-{size}", f"video_depth_anything_{encoder}.pth"
    return KnownWeights(f"vda-{encoder[-1]}", "vda", encoder, repository, file, licence, about, length, sha256)


def _vda_metric(size: str, encoder: Encoder, licence: str, length: int, sha256: str) -> KnownWeights:
    about = f"Video Depth Anything {size}, metric: consistent metres of videos"
    repository = f"depth-anything/Metric-Video-Depth-Anything-{size}"
    file = f"metric_video_depth_anything_{encoder}.pth"
    return KnownWeights(
        f"vda-metric-{encoder[-1]}", "vda-metric", encoder, repository, file, licence, about, length, sha256
    )


def _depth_anything(size: str, encoder: Encoder, licence: str, length: int | None, sha256: str | None) -> KnownWeights:
    about = f"Depth Anything V2 {size}: disparity of single pictures"
    name, file = f"depth-anything-v2-{encoder[-1]}", f"depth_anything_v2_{encoder}.pth"
    repository = f"depth-anything/Depth-Anything-V2-{size}"
    return KnownWeights(name, "depth-anything-v2", encoder, repository, file, licence, about, length, sha256)


def _moge(name: str, family: Family, encoder: Encoder, length: int, sha256: str) -> KnownWeights:
    about = f"MoGe-{family[-1]}: metres and camera of single pictures"
    return KnownWeights(name, family, encoder, f"Ruicheng/{name}", "model.pt", "MIT", about, length, sha256)


APACHE, NON_COMMERCIAL = "Apache-2.0", "CC-BY-NC-4.0"

# Hashes: as recorded alike by two or more unrelated public projects that pin these files (read November 2026); nobody
# here has had the files in hand. A download must match its pin AND what the hub states, and the error names both, so
# that a wrong pin, or a file changed upstream, is seen. None: no such record was found. Sizes (by one record at least)
# are for people to read; the size that the hub states is the one that counts.
KNOWN: tuple[KnownWeights, ...] = (
    _vda("Small", "vits", APACHE, 116_440_756, "13379300b739e659f076a59d52e9801bd8d38c541a7e71f73bbca4dcfb013609"),
    _vda(
        "Base", "vitb", NON_COMMERCIAL, 458_247_082, "775e578e8f9431ec0496514aa466bd0a1f67c28d0f518267809f35a43c04329b"
    ),
    _vda(
        "Large",
        "vitl",
        NON_COMMERCIAL,
        1_538_392_012,
        "43df27c6b396042ba34ff7b798ab279f64d204d2e86d7a373968f8fa36d0e6fa",
    ),
    _vda_metric(
        "Small", "vits", APACHE, 116_444_063, "3c28432b4e1f0d7bb31cad5151b6313b49457db5aa58d82e85bfb0f8b1311b33"
    ),
    _vda_metric(
        "Base", "vitb", NON_COMMERCIAL, 458_249_567, "f6f58576b9680a112f2428d4f39aff92656d3ae85745b0164675ace8d5b1fade"
    ),
    _vda_metric(
        "Large",
        "vitl",
        NON_COMMERCIAL,
        1_538_348_216,
        "24eba25342e7ee0f054be25da6a852ebd7cfa40cd6bf41a353ecb6abfe24e620",
    ),
    _depth_anything(
        "Small", "vits", APACHE, 99_218_434, "715fade13be8f229f8a70cc02066f656f2423a59effd0579197bbf57860e1378"
    ),
    _depth_anything("Base", "vitb", NON_COMMERCIAL, None, None),
    _depth_anything(
        "Large",
        "vitl",
        NON_COMMERCIAL,
        1_341_395_338,
        "a7ea19fa0ed99244e67b624c72b8580b7e9553043245905be58796a608eb9345",
    ),
    _moge(
        "moge-2-vits-normal",
        "moge-2",
        "vits",
        140_550_416,
        "79a16621928c2bf0ed04659218c55c01075e950507f40bb3332fb4c873d3e1dc",
    ),
    _moge(
        "moge-2-vitb-normal",
        "moge-2",
        "vitb",
        419_110_160,
        "16b8110e86d5dc5a849db120ca96ef3a223fd30b0c9146d1d81db504073da5f6",
    ),
    _moge(
        "moge-2-vitl-normal",
        "moge-2",
        "vitl",
        1_323_815_904,
        "280741fd09bc3f403ccff9967784c2a391b52d2c0742ae3efdb21d9f90cc1a01",
    ),
    _moge(
        "moge-3-vitl",
        "moge-3",
        "vitl",
        1_481_333_394,
        "9b41b7b9f65ad80aab7ad686f5e9cc0d1fd33f1964022618dfbcd52fc1fb7925",
    ),
)


def known(name: str) -> KnownWeights:
    """The known weights of this name.

    Raises:
        OptionError: there are none.
    """
    for weights in KNOWN:
        if weights.name == name:
            return weights
    raise OptionError(f"no weights are called '{name}': known are {', '.join(weights.name for weights in KNOWN)}")


def describe(weights: KnownWeights) -> str:
    """Name, file, size and licence in one phrase."""
    size = f"{weights.size / 1e6:.0f} MB" if weights.size else "size unknown"
    licence = f"{weights.licence}, not for commercial use" if weights.non_commercial else weights.licence
    return f"{weights.name} ({weights.repository}/{weights.file}, {size}, licence {licence})"


def how_to_get(weights: KnownWeights) -> str:
    """The command that fetches the file, on any machine with network, into a folder for RECON_WEIGHTS."""
    what = weights.repository if weights.family == "transformers" else f"{weights.repository} {weights.file}"
    return f"hf download {what} --local-dir weights/{weights.folder}"


def missing(weights: KnownWeights, why: str) -> MissingWeightsError:
    """The one error for weights that are not here: what, why, and both ways to provide it."""
    return MissingWeightsError(
        f"{describe(weights)} was not found and {why}; on a machine with network run "
        f"`{how_to_get(weights)}`, then either set {FOLDER_VARIABLE} to the folder `weights`, "
        f"or give it with {weights.option}"
    )


# ----------------------------------------------------------------------------------------------------------- find


def find(weights: KnownWeights, explicit: Path | None = None) -> Path | None:
    """The file, if it is on this machine: ``explicit``, then RECON_WEIGHTS, then the hub's cache.

    Raises:
        WeightsError: ``explicit`` is not a file, or RECON_WEIGHTS is not a folder.
    """
    if explicit is not None:
        return given(explicit, weights.option)
    return _in_folder(weights) or _in_cache(weights)


def given(path: Path, option: str) -> Path:
    """A file that the user named.

    Raises:
        WeightsError: it is not there.
    """
    if not path.is_file():
        raise WeightsError(f"{option}: there is no file {path}")
    return path


def weights_folder() -> Path | None:
    """The folder that RECON_WEIGHTS names.

    Raises:
        WeightsError: it is set to something that is not a folder.
    """
    value = os.environ.get(FOLDER_VARIABLE)
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise WeightsError(f"{FOLDER_VARIABLE}={value}: there is no such folder; correct the variable or unset it")
    return folder


def _in_folder(weights: KnownWeights) -> Path | None:
    folder = weights_folder()
    if folder is None:
        return None
    return next((path for path in _candidates(weights, folder) if path.is_file()), None)


def _candidates(weights: KnownWeights, folder: Path) -> Iterator[Path]:
    """Places in a folder, the best first. A name as general as model.pt counts in a sub-folder only."""
    file = Path(weights.file)
    if weights.family == "transformers":
        yield folder / weights.folder / file
        return
    stem = weights.folder if file.stem == "model" else file.stem
    for suffix in sorted(SUFFIXES, key=lambda suffix: suffix != file.suffix):
        yield folder / f"{stem}{suffix}"
        yield folder / weights.folder / f"{file.stem}{suffix}"


def _in_cache(weights: KnownWeights) -> Path | None:
    path = try_to_load_from_cache(weights.repository, weights.file, cache_dir=_cache_folder())
    return Path(path) if isinstance(path, str) else None


def inventory() -> list[Located]:
    """Every known file of weights, and where it was found.

    Raises:
        WeightsError: RECON_WEIGHTS is not a folder.
    """
    return [Located(weights, find(weights), how_to_get(weights)) for weights in KNOWN]


# ------------------------------------------------------------------------------------------------------- download


def fetch(
    weights: KnownWeights, *, explicit: Path | None = None, download: bool = True, on_download: OnDownload | None = None
) -> Path:
    """The file: found on this machine, or else downloaded.

    Raises:
        HubUnreachableError: it is not here and the hub cannot be reached.
        MissingWeightsError: it is not here and may not be downloaded, or the hub does not give it out.
        WeightsError: the download is not what it should be.
    """
    path = find(weights, explicit)
    if path is None and not download:
        raise missing(weights, "downloads are switched off")
    path = path or _download_or_explain(weights, on_download)
    if weights.non_commercial and explicit is None:
        _warn_non_commercial(weights.name, weights.licence)
    return path


def _download_or_explain(weights: KnownWeights, on_download: OnDownload | None) -> Path:
    try:
        return download_file(weights, on_download)
    except HubUnreachableError as error:
        raise HubUnreachableError(str(missing(weights, str(error)))) from error


@cache
def _warn_non_commercial(name: str, licence: str) -> None:
    """Once for each process and name (cached)."""
    log.warning("the weights %s are licensed %s: not for commercial use", name, licence)


@dataclass(frozen=True, slots=True)
class _Remote:
    """What the hub states of a file."""

    url: str
    checksum: str
    """SHA-256 (64 digits), or the SHA-1 that git gives to small files (40 digits)."""
    size: int | None
    headers: dict[str, str]


def download_file(weights: KnownWeights, on_download: OnDownload | None = None) -> Path:
    """Fetch the file into the hub's cache: resumed where it was interrupted, checked, then there as a whole.

    Raises:
        HubUnreachableError: the hub cannot be reached, or the connection keeps breaking.
        MissingWeightsError: the hub has no such file, or does not give it out.
        WeightsError: the hub states no checksum, or what came does not match.
    """
    with _hub_errors(weights):
        remote = _within(_patience(), lambda: _ask(weights))
        _check_pin(weights, remote)
        _receive_once(weights, remote, on_download or _ignore)
        # The content lies where the hub's library looks for it: it now only adds its links and notes.
        return Path(hf_hub_download(weights.repository, weights.file, cache_dir=_cache_folder(), endpoint=_endpoint()))


def _ignore(_file: str, _done: int, _size: int | None) -> None:
    """Report a download to nobody."""


def _ask(weights: KnownWeights) -> _Remote:
    url = hf_hub_url(weights.repository, weights.file, endpoint=_endpoint())
    stated = get_hf_file_metadata(url, timeout=_patience(), endpoint=_endpoint())
    if stated.commit_hash is None:
        raise HubUnreachableError(
            f"{urlsplit(url).netloc} does not answer like the hub (a log-in page of the network?)"
        )
    checksum = (stated.etag or "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", checksum):
        raise WeightsError(f"{url}: the server states no checksum, and recon downloads nothing without one")
    # A token of the user's goes to the hub alone, never to the store that it redirects to.
    same_host = urlsplit(url).netloc == urlsplit(stated.location).netloc
    token = get_token() if same_host else None
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return _Remote(stated.location, checksum, stated.size, headers)


def _check_pin(weights: KnownWeights, remote: _Remote) -> None:
    """Refuse before the first byte what cannot end well."""
    if weights.sha256 is not None and remote.checksum != weights.sha256:
        raise WeightsError(
            f"{describe(weights)}: the hub offers a file with sha256 {remote.checksum}, recon knows {weights.sha256}; "
            f"if you trust the new one, download it yourself and give it with {weights.option}"
        )


def _receive_once(weights: KnownWeights, remote: _Remote, on_download: OnDownload) -> None:
    """Receive into the cache, one process at a time."""
    blob = _blob(weights, remote)
    blob.parent.mkdir(parents=True, exist_ok=True)
    locks = _cache_folder() / ".locks" / blob.parent.parent.name
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{blob.name}.recon.lock"):
        if not blob.exists():
            _receive(weights, remote, blob, on_download)


def _blob(weights: KnownWeights, remote: _Remote) -> Path:
    """Where the hub's cache keeps content, by its checksum (documented layout: models--OWNER--NAME/blobs/ETAG)."""
    return _cache_folder() / f"models--{weights.repository.replace('/', '--')}" / "blobs" / remote.checksum


def _receive(weights: KnownWeights, remote: _Remote, blob: Path, on_download: OnDownload) -> None:
    partial = blob.with_name(f"{blob.name}.recon.partial")
    _complete(weights, remote, partial, on_download)
    if _checksum(partial, len(remote.checksum)) != remote.checksum:
        partial.unlink()
        raise WeightsError(f"{describe(weights)}: what came does not match its checksum and was deleted; try again")
    partial.replace(blob)


def _complete(weights: KnownWeights, remote: _Remote, partial: Path, on_download: OnDownload) -> None:
    """Go on where the last attempt stopped, as long as each attempt brings something."""
    failures = 0
    while remote.size is None or _length(partial) < remote.size or _length(partial) == 0:
        before = _length(partial)
        try:
            _append(weights.file, remote, partial, on_download)
        except _connection_errors() as error:
            failures = 0 if _length(partial) > before else failures + 1
            if failures == ATTEMPTS:
                raise HubUnreachableError(f"the connection keeps breaking after {before} bytes ({error})") from error
            continue
        return


def _append(name: str, remote: _Remote, partial: Path, on_download: OnDownload) -> None:
    have = _length(partial)
    headers = remote.headers | ({"Range": f"bytes={have}-"} if have else {})
    with get_session().stream("GET", remote.url, headers=headers, timeout=STALL) as response:
        if response.status_code not in {200, 206}:
            raise HubUnreachableError(f"{urlsplit(remote.url).netloc} answers HTTP {response.status_code}")
        resumed = response.status_code == 206
        done = have if resumed else 0
        with partial.open("ab" if resumed else "wb") as file:
            for piece in response.iter_bytes():
                file.write(piece)
                done += len(piece)
                on_download(name, done, remote.size)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _checksum(path: Path, digits: int) -> str:
    """SHA-256, or git's SHA-1 of a blob (Pro Git, 10.2): sha1("blob SIZE" NUL content)."""
    if digits == 64:
        return sha256_of(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


# ------------------------------------------------------------------------------------------------------------ hub


def _cache_folder() -> Path:
    return Path(constants.HF_HUB_CACHE)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _patience() -> float:
    return float(os.environ.get(PATIENCE_VARIABLE, PATIENCE))


def _connection_errors() -> tuple[type[Exception], ...]:
    """What the hub's HTTP library raises when a connection breaks: httpx in its version 1, httpx2 in its version 2."""
    library = sys.modules[type(get_session()).__module__.partition(".")[0]]
    return (library.TransportError, TimeoutError, LocalEntryNotFoundError)


@contextmanager
def _hub_errors(weights: KnownWeights) -> Iterator[None]:
    """Sort what can go wrong: the hub is out of reach, or it answered and the answer is no."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise HubUnreachableError("the hub is switched off (HF_HUB_OFFLINE)") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in {408, 429} or status >= 500:
            raise HubUnreachableError(f"the hub cannot serve it now (HTTP {status})") from error
        raise missing(weights, f"the hub does not give it out (HTTP {status})") from error
    except _connection_errors() as error:
        reason = " ".join(str(error).split()) or "no answer in time"
        raise HubUnreachableError(f"the hub cannot be reached ({reason})") from error
    except OSError as error:
        raise WeightsError(f"{describe(weights)}: cannot be written to {_cache_folder()} ({error})") from error


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, or TimeoutError: a black hole of a network must not stop a run that can do without.

    Time-outs of sockets count for each address and leave out the name look-up, hence a thread and a clock.
    """
    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller, not swallowed
            result.set_exception(error)

    threading.Thread(target=work, name="ask-hub", daemon=True).start()
    return result.result(seconds)


__all__ = [
    "KNOWN",
    "Encoder",
    "Family",
    "HubUnreachableError",
    "KnownWeights",
    "Located",
    "MissingWeightsError",
    "OnDownload",
    "describe",
    "download_file",
    "fetch",
    "find",
    "given",
    "how_to_get",
    "inventory",
    "known",
    "missing",
    "weights_folder",
]
