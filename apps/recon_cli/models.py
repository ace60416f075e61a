"""`recon models`: which weights are known, where they were found, and how to get the rest."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from recon_cli.options import General

if TYPE_CHECKING:
    from recon.models.weights import Located


def models(*, general: General = General()) -> None:
    """List the networks that recon knows: licence, size, where their weights were found or how to get them."""
    from recon.models.weights import inventory

    located = inventory()
    console = Console(quiet=general.quiet, highlight=False, soft_wrap=True)
    for item in located:
        console.print(_told(item))
    _print_missing(console, [item for item in located if item.path is None])


def _told(item: "Located") -> str:
    weights = item.weights
    licence = f"{weights.licence}, not for commercial use" if weights.non_commercial else weights.licence
    size = f"{weights.size / 1e6:.0f} MB" if weights.size else "size unknown"
    found = f"[green]{escape(str(item.path))}[/green]" if item.path is not None else "not here"
    return f"[bold]{weights.name}[/bold]: {weights.about}\n    {licence}; {size}; {found}"


def _print_missing(console: Console, missing: "list[Located]") -> None:
    if not missing:
        return
    console.print(
        "\nA run with network downloads what it needs. Without network, fetch a file elsewhere and set RECON_WEIGHTS "
        "to the folder `weights`:"
    )
    for item in missing:
        console.print(f"  {item.how_to_get}", markup=False)
