"""`recon view`: a result as a page that opens anywhere."""

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from recon_cli.console import terminal
from recon_cli.options import General
from recon_cli.outputs import claimed_file


def view(
    result: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    trajectory: Path | None = None,
    open_: Annotated[bool, Parameter(name="--open", negative=())] = False,
    general: General = General(),
) -> None:
    """Write one HTML file in which a cloud or mesh is turned, walked through and seen along the camera's path.

    It holds everything that it shows: it opens in any browser, without network and without a server.

    Parameters
    ----------
    result
        Cloud or mesh that recon wrote (.ply, .glb, .obj, .stl, .usdz, .las, .e57), or anybody else's.
    output
        HTML file to write; RESULT.html in the current folder where not given.
    trajectory
        Camera poses in the world of the result: TUM, KITTI, transforms.json, COLMAP and others. Where not given: the
        result's own path, the .tum file beside it, or the poses that it was made with.
    open_
        Show it in the browser.
    """
    from recon.pipelines.view import is_view, require_input, write_view

    require_input(trajectory)
    output = output or Path(f"{result.stem}.html")
    with terminal(general) as screen:
        output = claimed_file(output, ".html", result, overwrite=general.overwrite or is_view(output))
        summary = write_view(output, result, trajectory=trajectory)
        path = f"{summary.cameras:,} poses ({summary.path})" if summary.cameras else "none"
        size = f"{summary.bytes / 1e6:.1f} MB"
        screen.table(str(output), [("shows", summary.shown), ("camera's path", path), ("size", size)])
    if open_:
        webbrowser.open(output.resolve().as_uri())
