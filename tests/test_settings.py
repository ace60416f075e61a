"""Settings: one source for defaults, limits and help; YAML that is refused in one line where it is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recon.errors import OptionError
from recon.settings import (
    DepthRunSettings,
    DepthSettings,
    PointcloudSettings,
    PosesSettings,
    SamplingSettings,
    Section,
    read_yaml,
)
from recon_cli.options import explain, merged

CONFIGS = Path(__file__).parents[1] / "configs"
RUNS = {"pointcloud": PointcloudSettings, "depth": DepthRunSettings}


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_shipped_configuration_fits_its_command_and_only_overrides(path: Path) -> None:
    values = read_yaml(path)
    settings = RUNS[path.parent.name].model_validate(values)
    defaults = RUNS[path.parent.name]()
    changed = {name for name in values if getattr(settings, name) != getattr(defaults, name)}
    assert changed == set(values)


@pytest.mark.parametrize("kind", RUNS.values())
def test_yaml_says_everything_and_comes_back(kind: type[Section]) -> None:
    assert kind.model_validate(yaml.safe_load(yaml.safe_dump(kind().model_dump(mode="json")))) == kind()


def sections(kind: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield name, field.annotation


def test_every_setting_has_a_help_text_and_a_name_of_its_own() -> None:
    """Sections are flattened on the command line, so two fields of one name would be one option."""
    for kind in RUNS.values():
        names = [field for _name, section in sections(kind) for field in section.model_fields]
        assert len(names) == len(set(names))
        assert all(field.description for _name, section in sections(kind) for field in section.model_fields.values())


@given(st.text("abcxyz_", min_size=1, max_size=8))
def test_an_unknown_key_is_refused_in_every_section(key: str) -> None:
    for name, section in sections(PointcloudSettings):
        if key not in section.model_fields:
            with pytest.raises(ValidationError, match=key):
                PointcloudSettings.model_validate({name: {key: 1}})


@pytest.mark.parametrize(
    ("content", "says"),
    [("[1, 2]", "not a list"), ("a: [", "cannot be read as YAML"), ("\x00", "cannot be read as YAML")],
)
def test_a_file_that_is_no_settings_file_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(OptionError, match=says):
        read_yaml(path)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert merged(PointcloudSettings, tmp_path / "empty.yaml", {}) == PointcloudSettings()


def test_the_command_line_wins_over_the_file_and_both_are_checked_together(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("sampling: {start: 10, every: 2}\ndepth: {input_size: 280}\n")
    settings = merged(PointcloudSettings, path, {"sampling": SamplingSettings(start=1.0), "depth": DepthSettings()})
    assert (settings.sampling.start, settings.sampling.every, settings.depth.input_size) == (1.0, 2.0, 280)
    with pytest.raises(OptionError, match=r"mine\.yaml: .*--end \(5 s\) must come after --start \(10 s\)"):
        merged(PointcloudSettings, path, {"sampling": SamplingSettings(end=5.0)})
    with pytest.raises(OptionError, match="--every and --fps"):
        merged(PointcloudSettings, path, {"sampling": SamplingSettings(fps=3.0)})


def test_settings_of_another_command_are_taken_as_far_as_they_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Those beside a cloud are good for its poses: only how it is fused is of no use there."""
    path = tmp_path / "cloud.ply.yaml"
    path.write_text("sampling: {every: 0.5}\nfuse: {voxel: 0.02}\nprovenance: {recon: 1}\n")
    assert merged(PosesSettings, path, {}) == PosesSettings(sampling=SamplingSettings(every=0.5))
    assert [record.getMessage() for record in caplog.records] == [f"{path}: fuse: of another command; left out"]
    path.write_text("fues: {voxel: 0.02}\n")
    with pytest.raises(OptionError, match=r"cloud\.ply\.yaml: fues: there is no such setting"):
        merged(PosesSettings, path, {})


def test_findings_are_one_line_in_the_words_of_the_command_line() -> None:
    with pytest.raises(ValidationError) as caught:
        PointcloudSettings.model_validate({"depth": {"input_size": 3}, "clean": {"edge": "wide"}})
    assert explain(caught.value) == (
        "--input-size: input should be greater than or equal to 14 (got 3); "
        "--edge: input should be a valid number, unable to parse string as a number (got wide)"
    )


def test_the_period_is_the_same_however_it_is_said() -> None:
    assert SamplingSettings(every=0.5).period == SamplingSettings(fps=2.0).period == 0.5
    assert SamplingSettings().period == 0.0
