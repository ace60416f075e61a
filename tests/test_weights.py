"""KnownWeights: where they are looked for, and downloads from a hub that stands on this machine."""

import hashlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from recon.errors import OptionError, WeightsError
from recon.files import sha256_of
from recon.models import weights as module
from recon.models.weights import (
    KNOWN,
    HubUnreachableError,
    KnownWeights,
    describe,
    fetch,
    find,
    inventory,
    known,
    missing,
)

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TOY = KnownWeights("toy", "vda", "vits", "someone/Toy", "toy.pth", "Apache-2.0", "a toy", len(CONTENT), SHA256)
pytestmark = pytest.mark.usefixtures("cache")  # no test sees the cache of this machine, or the network
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """A stand-in for the hub: serves one file, ranges included, and can misbehave."""

    content: bytes = CONTENT
    etag: str | None = SHA256
    commit: str | None = COMMIT
    status: int = 200
    cut_after: list[int] = field(default_factory=list)
    """For each coming GET: bytes after which the connection breaks."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Method and Range header of what was asked."""


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _head(self) -> bytes:
            asked = self.headers.get("Range")
            hub.requests.append((self.command, asked))
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            body = hub.content[start:]
            self.send_response(hub.status if hub.status != 200 else 206 if asked else 200)
            if hub.commit:
                self.send_header("X-Repo-Commit", hub.commit)
            if hub.etag:
                self.send_header("ETag", f'"{hub.etag}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            body = self._head()
            cut = hub.cut_after.pop(0) if hub.cut_after else len(body)
            self.wfile.write(body[:cut])
            self.wfile.flush()

    return Handler


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no weights anywhere else."""
    folder = tmp_path / "hub-cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.delenv("RECON_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    return folder


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    assert not cache.exists()
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield hub
        server.shutdown()


class TestTable:
    def test_names_and_files_are_unique(self) -> None:
        assert len({weights.name for weights in KNOWN}) == len(KNOWN)
        assert len({(weights.repository, weights.file) for weights in KNOWN}) == len(KNOWN)

    def test_hashes_are_hashes_and_come_with_a_size(self) -> None:
        for weights in KNOWN:
            assert (weights.sha256 is None) == (weights.size is None)
            if weights.sha256 is not None:
                assert len(bytes.fromhex(weights.sha256)) == 32

    def test_only_base_and_large_of_depth_anything_are_non_commercial(self) -> None:
        restricted = {weights.name for weights in KNOWN if weights.non_commercial}
        expected = {f"{kind}-{size}" for kind in ("vda", "vda-metric", "depth-anything-v2") for size in "bl"}
        assert restricted == expected

    def test_the_file_of_the_main_model(self) -> None:
        weights = known("vda-s")
        assert (weights.repository, weights.file) == (
            "depth-anything/Video-Depth-Anything-Small",
            "video_depth_anything_vits.pth",
        )

    def test_an_unknown_name_lists_the_known_ones(self) -> None:
        with pytest.raises(OptionError, match=r"'vda-x'.*vda-s.*moge-3-vitl"):
            known("vda-x")


class TestFind:
    def test_an_explicit_path_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "toy.pth").touch()
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path))
        mine = tmp_path / "mine.bin"
        mine.touch()
        assert find(TOY, mine) == mine

    def test_an_explicit_path_that_is_not_there_is_an_error_and_not_a_download(self, hub: Hub, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"--weights FILE: there is no file .*mine\.pth"):
            fetch(TOY, explicit=tmp_path / "mine.pth")
        assert hub.requests == []

    @pytest.mark.parametrize("place", ["toy.pth", "toy.safetensors", "Toy/toy.pth", "Toy/toy.safetensors", "toy.pt"])
    def test_the_folder_of_weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        path = tmp_path / "weights" / place
        path.parent.mkdir(parents=True)
        path.touch()
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path / "weights"))
        assert find(TOY) == path

    def test_the_published_file_wins_over_a_conversion(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("toy.safetensors", "toy.pth"):
            (tmp_path / name).touch()
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path))
        assert find(TOY) == tmp_path / "toy.pth"

    def test_a_file_called_model_counts_only_where_its_repository_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path))
        (tmp_path / "model.pt").touch()
        assert find(known("moge-2-vits-normal")) is None
        renamed = tmp_path / "moge-2-vits-normal.pt"
        renamed.touch()
        assert find(known("moge-2-vits-normal")) == renamed
        assert find(known("moge-2-vitb-normal")) is None

    def test_a_folder_that_is_not_there_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RECON_WEIGHTS", "/no/such/folder")
        with pytest.raises(WeightsError, match="RECON_WEIGHTS=/no/such/folder"):
            find(TOY)

    def test_the_cache_of_the_hub(self, cache: Path) -> None:
        snapshot = cache / "models--someone--Toy" / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (snapshot / "toy.pth").touch()
        (cache / "models--someone--Toy" / "refs").mkdir()
        (cache / "models--someone--Toy" / "refs" / "main").write_text(COMMIT)
        assert find(TOY) == snapshot / "toy.pth"

    def test_the_inventory_names_every_file_and_finds_what_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "depth_anything_v2_vits.safetensors").touch()
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path))
        found = {line.weights.name: line.path for line in inventory()}
        assert list(found) == [weights.name for weights in KNOWN]
        assert {name for name, path in found.items() if path} == {"depth-anything-v2-s"}

    def test_the_workshop_has_depth_anything(self, vits_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RECON_WEIGHTS", str(vits_weights.parent))
        assert find(known("depth-anything-v2-s")) == vits_weights


class TestDownload:
    def test_it_arrives_whole_reports_itself_and_is_found_afterwards(self, hub: Hub, cache: Path) -> None:
        reports: list[tuple[str, int, int | None]] = []
        path = fetch(TOY, on_download=lambda *report: reports.append(report))
        assert path.read_bytes() == CONTENT
        assert path.is_relative_to(cache)
        done = [report[1] for report in reports]
        assert done == sorted(set(done))
        assert reports[-1] == ("toy.pth", len(CONTENT), len(CONTENT))
        asked = len(hub.requests)
        assert fetch(TOY) == path
        assert len(hub.requests) == asked, "a file in the cache needs no network"

    @pytest.mark.usefixtures("hub")
    def test_nothing_but_the_hubs_own_layout_stays_behind(self, cache: Path) -> None:
        fetch(TOY)
        folder = cache / "models--someone--Toy"
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert files == {f"blobs/{SHA256}", f"snapshots/{COMMIT}/toy.pth", "refs/main"}

    def test_a_broken_connection_goes_on_where_it_stopped(self, hub: Hub) -> None:
        hub.cut_after = [300_000, 200_000]
        assert fetch(TOY).read_bytes() == CONTENT
        assert [asked for method, asked in hub.requests if method == "GET"] == [
            None,
            "bytes=300000-",
            "bytes=500000-",
        ]

    def test_a_later_run_goes_on_where_a_killed_one_stopped(self, hub: Hub, cache: Path) -> None:
        def killed(_file: str, done: int, _size: int | None) -> None:
            if done >= 500_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch(TOY, on_download=killed)
        [partial] = cache.rglob("*.partial")
        have = partial.stat().st_size
        assert 500_000 <= have < len(CONTENT)
        assert find(TOY) is None, "half a file is no file"
        hub.requests.clear()
        assert fetch(TOY).read_bytes() == CONTENT
        assert ("GET", f"bytes={have}-") in hub.requests

    def test_a_connection_that_brings_nothing_is_given_up(self, hub: Hub) -> None:
        hub.cut_after = [1000] + [0] * 50
        with pytest.raises(HubUnreachableError, match="keeps breaking after 1000 bytes"):
            fetch(TOY)

    @pytest.mark.usefixtures("hub")
    def test_a_cache_that_cannot_be_written_is_named(self, cache: Path) -> None:
        cache.write_text("a file where the folder should be")
        with pytest.raises(WeightsError, match=r"toy.*cannot be written to .*hub-cache"):
            fetch(TOY)

    def test_content_that_does_not_match_is_refused_and_deleted(self, hub: Hub, cache: Path) -> None:
        hub.content = CONTENT[:-1] + b"\0"
        with pytest.raises(WeightsError, match=r"toy.*does not match its checksum and was deleted"):
            fetch(TOY)
        assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 0]
        hub.content = CONTENT
        assert fetch(TOY).read_bytes() == CONTENT

    @pytest.mark.usefixtures("hub")
    def test_a_partial_file_with_wrong_content_does_not_survive(self, cache: Path) -> None:
        blobs = cache / "models--someone--Toy" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{SHA256}.recon.partial").write_bytes(b"x" * 1000)
        with pytest.raises(WeightsError, match="does not match"):
            fetch(TOY)
        assert fetch(TOY).read_bytes() == CONTENT

    def test_a_file_that_is_not_the_known_one_is_refused_before_it_comes(self, hub: Hub) -> None:
        other = replace(TOY, sha256="0" * 64)
        with pytest.raises(WeightsError, match=rf"hub offers a file with sha256 {SHA256}, recon knows 000"):
            fetch(other)
        assert [method for method, _ in hub.requests] == ["HEAD"]

    @pytest.mark.usefixtures("hub")
    def test_without_a_known_hash_the_hubs_own_counts(self) -> None:
        unpinned = replace(TOY, sha256=None, size=None)
        assert fetch(unpinned).read_bytes() == CONTENT

    def test_small_files_are_checked_by_gits_hash(self, hub: Hub) -> None:
        hub.content = b'{"a": 1}'
        hub.etag = "e63d37b65a1f6fb0b60c0ec35e7d2f9a4d5c3f1b"  # not its hash
        with pytest.raises(WeightsError, match="does not match"):
            fetch(replace(TOY, sha256=None, size=None))
        hub.etag = hashlib.sha1(b"blob 8\0" + hub.content, usedforsecurity=False).hexdigest()
        assert fetch(replace(TOY, sha256=None, size=None)).read_bytes() == hub.content

    @pytest.mark.parametrize("etag", [None, "abc", "5d41402abc4b2a76b9719d911017c592"])
    def test_no_checksum_no_download(self, hub: Hub, etag: str | None) -> None:
        hub.etag = etag
        with pytest.raises(WeightsError, match="states no checksum"):
            fetch(replace(TOY, sha256=None))
        assert [method for method, _ in hub.requests] == ["HEAD"]

    def test_a_hub_that_has_no_such_file(self, hub: Hub) -> None:
        hub.status = 404
        with pytest.raises(WeightsError, match=r"does not give it out \(HTTP 404\)") as caught:
            fetch(TOY)
        assert not isinstance(caught.value, HubUnreachableError)

    def test_a_hub_that_is_down_is_out_of_reach(self, hub: Hub) -> None:
        hub.status = 503
        with pytest.raises(HubUnreachableError, match="HTTP 503"):
            fetch(TOY)

    def test_a_log_in_page_is_not_the_hub(self, hub: Hub) -> None:
        hub.commit = None
        with pytest.raises(HubUnreachableError, match="does not answer like the hub"):
            fetch(TOY)

    def test_downloads_can_be_switched_off(self, hub: Hub) -> None:
        with pytest.raises(WeightsError, match="downloads are switched off"):
            fetch(TOY, download=False)
        assert hub.requests == []


class TestNoNetwork:
    def test_the_one_error_names_the_file_and_both_ways_to_provide_it(self) -> None:
        with pytest.raises(HubUnreachableError) as caught:
            fetch(known("vda-s"))
        message = str(caught.value)
        assert "\n" not in message
        for part in (
            "video_depth_anything_vits.pth",
            "116 MB",
            "Apache-2.0",
            "hf download depth-anything/Video-Depth-Anything-Small video_depth_anything_vits.pth",
            "RECON_WEIGHTS",
            "--weights FILE",
        ):
            assert part in message

    def test_the_option_of_moge_is_named_for_moge(self) -> None:
        assert "--moge-weights FILE" in str(missing(known("moge-2-vits-normal"), "no network"))

    def test_what_the_error_proposes_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`hf download ... --local-dir weights/X` puts the file at weights/X/FILE."""
        for weights in KNOWN:
            path = tmp_path / "weights" / weights.folder / weights.file
            path.parent.mkdir(parents=True)
            path.touch()
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path / "weights"))
        assert [line.path for line in inventory()] == [
            tmp_path / "weights" / weights.folder / weights.file for weights in KNOWN
        ]

    def test_offline_mode_asks_nobody(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(HubUnreachableError, match="HF_HUB_OFFLINE"):
            fetch(TOY)
        assert hub.requests == []

    def test_a_network_that_swallows_everything_costs_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.3")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
            start = time.monotonic()
            with pytest.raises(HubUnreachableError, match="cannot be reached"):
                fetch(TOY)
        assert time.monotonic() - start < 3


class TestLicence:
    def test_non_commercial_weights_say_so_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        module._warn_non_commercial.cache_clear()
        (tmp_path / "video_depth_anything_vitl.pth").touch()
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path))
        with caplog.at_level(logging.WARNING, "recon"):
            fetch(known("vda-l"))
            fetch(known("vda-l"))
        assert [record.getMessage() for record in caplog.records] == [
            "the weights vda-l are licensed CC-BY-NC-4.0: not for commercial use"
        ]

    def test_free_weights_say_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "video_depth_anything_vits.pth").touch()
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path))
        fetch(known("vda-s"))
        assert caplog.records == []

    def test_the_description_says_it_too(self) -> None:
        assert "not for commercial use" in describe(known("vda-b"))


def test_the_hash_of_a_file_is_that_of_the_standard(tmp_path: Path) -> None:
    """FIPS 180-2, appendix B.1: the message "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
