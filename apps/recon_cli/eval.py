"""`recon eval`: how good depth is, by the published measures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from recon.errors import OptionError
from recon.settings import EvaluationRunSettings, EvaluationSettings, NetworkSettings
from recon_cli.console import terminal
from recon_cli.options import General, flat, merged
from recon_cli.outputs import REPORT, claimed_comparison, claimed_report, record

if TYPE_CHECKING:
    from recon.evaluation.measures import Evaluation


def evaluate(
    data_set: str | None = None,
    path: Path | None = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    compare: Annotated[
        tuple[Path, ...], Parameter(consume_multiple=True, negative_iterable=(), show_default=False)
    ] = (),
    evaluation: Annotated[EvaluationSettings, flat("Evaluation")] = EvaluationSettings(),
    depth: Annotated[NetworkSettings, flat("Depth")] = NetworkSettings(),
    general: General = General(),
) -> None:
    """Score depth on a data set, by the published measures; or put such scores side by side.

    A run that was interrupted goes on where it was. Without DATA-SET, the data sets and their layouts are listed.

    Parameters
    ----------
    data_set
        A benchmark: kitti-110, 7scenes, folder, ...; or cloud, trajectory or stereo, for a result in a file.
    path
        Its root folder, laid out as it is published; or the true cloud, trajectory or stereo pair.
    output
        Folder for report.json, report.md, frames.csv and index.html; eval-DATA-SET-MODEL in the current folder where
        not given.
    compare
        Reports (report.json) to put into one table, instead.
    """
    with terminal(general):
        settings = merged(EvaluationRunSettings, general.config, {"evaluation": evaluation, "depth": depth})
    if compare and data_set is not None:
        raise OptionError("--compare puts reports side by side; give it without a data set")
    if compare:
        _compare(compare, output, general)
    elif data_set is None:
        _list(general)
    elif path is None:
        raise OptionError(f"recon eval {data_set}: give its root folder (or the true file), too")
    else:
        _score(data_set, path, output, settings, general)


def _score(data_set: str, path: Path, output: Path | None, settings: EvaluationRunSettings, general: General) -> None:
    output = claimed_report(output or _default(data_set, settings), overwrite=general.overwrite)
    with terminal(general) as screen:
        from recon.pipelines.evaluate import evaluate_on, told
        from recon.pipelines.single import SINGLE, evaluate_file

        if data_set in SINGLE:
            rows = evaluate_file(data_set, path, output, settings.evaluation, overwrite=general.overwrite)
        else:
            rows = [evaluate_on(data_set, path, output, settings, screen, overwrite=general.overwrite)]
        beside = record(output, settings, {"data set": data_set, "root": str(path), "method": rows[0].method})
        _show(rows, general)
        screen.table(str(output), [*told(rows[0]), ("page", "index.html"), ("settings", beside.name)])


def _compare(reports: Sequence[Path], output: Path | None, general: General) -> None:
    from recon.evaluation.page import write_comparison_page
    from recon.evaluation.report import read_json, write_comparison

    rows = [read_json(path / REPORT if path.is_dir() else path) for path in reports]
    if output is not None:
        output = claimed_comparison(output, overwrite=general.overwrite)
        output.mkdir(exist_ok=True)
        write_comparison(rows, output / "comparison.md")
        write_comparison_page(rows, output / "index.html")
    _show(rows, general)


def _list(general: General) -> None:
    from recon.evaluation.datasets import ALL

    console = Console(quiet=general.quiet, highlight=False, soft_wrap=True)
    for each in ALL.values():
        console.print(f"[bold]{each.name}[/bold]: {escape(each.about)}\n    {escape(each.layout)}")


def _show(rows: "Sequence[Evaluation]", general: General) -> None:
    """The table on stdout, as Markdown: to be read, kept or pasted."""
    from recon.evaluation.report import tables

    Console(quiet=general.quiet, highlight=False, soft_wrap=True).print(tables(rows), markup=False, end="")


def _default(data_set: str, settings: EvaluationRunSettings) -> Path:
    """The folder where the user names none."""
    from recon.evaluation.datasets.layout import clip_name

    given, network = settings.evaluation.predictions, settings.depth
    mode = () if network.mode == "offline" else (network.mode,)
    return Path(f"eval-{data_set}-{clip_name(network.model, *mode) if given is None else clip_name(given.name)}")
