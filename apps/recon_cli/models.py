"""`recon models`: which weights are known, where they were found, and how to get the rest."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from recon_cli.options import General

if TYPE_CHECKING:
    from recon.models.weights import Located


def models(*, general: General = General()) -> None:
    """List the networks that recon knows: licence, size, where their weights were found or how to get them."""
    from recon.models.weights import inventory

    located = inventory()
    console = Console(quiet=general.quiet)
    table = Table(title="Weights", title_justify="left", title_style="bold")
    for heading in ("--model", "what", "licence", "size", "found"):
        table.add_column(heading, overflow="fold")
    for item in located:
        table.add_row(*_row(item))
    console.print(table)
    _print_missing(console, [item for item in located if item.path is None])


def _row(item: "Located") -> tuple[str, ...]:
    weights = item.weights
    licence = f"{weights.licence} (not for commercial use)" if weights.non_commercial else weights.licence
    size = f"{weights.size / 1e6:.0f} MB" if weights.size else "unknown"
    return weights.name, weights.about, licence, size, str(item.path or "-")


def _print_missing(console: Console, missing: "list[Located]") -> None:
    if not missing:
        return
    console.print(
        "\nA run with network downloads what it needs. Without network, fetch a file elsewhere and set RECON_WEIGHTS "
        "to the folder `weights`:"
    )
    for item in missing:
        console.print(f"  {item.how_to_get}", soft_wrap=True, highlight=False)
