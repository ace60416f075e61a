"""The application: its commands, and how errors become one line and an exit code."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from cyclopts.exceptions import ValidationError
from pydantic import ValidationError as InvalidSettings

from recon import ReconError, __version__
from recon_cli.console import complain
from recon_cli.convert import convert
from recon_cli.depth import depth
from recon_cli.eval import evaluate
from recon_cli.mesh import mesh
from recon_cli.models import models
from recon_cli.options import explain
from recon_cli.pointcloud import pointcloud
from recon_cli.poses import poses
from recon_cli.stereo3d import stereo3d
from recon_cli.view import view

BAD_OPTIONS, INTERRUPTED = 2, 130

app = App(
    name="recon",
    version=__version__,
    help="From an ordinary video to consistent depth and metric 3D.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(pointcloud)
app.command(mesh)
app.command(stereo3d)
app.command(depth)
app.command(poses)
app.command(convert)
app.command(view)
app.command(evaluate, name="eval")
app.command(models)


def main() -> None:
    """Run the command line and exit: 0 done, 1 bad input, 2 bad options, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(tokens: Sequence[str]) -> int:
    """Run one command; errors that recon foresees are one line on stderr, anything else is a bug and escapes."""
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return complain(_parsing(error), BAD_OPTIONS)
    except ReconError as error:
        return complain(str(error), error.exit_code)
    except OSError as error:
        return complain(_system(error), 1)
    except KeyboardInterrupt:
        return complain("stopped; what is finished is kept, and the same command goes on from there", INTERRUPTED)
    return 0


def _parsing(error: CycloptsError) -> str:
    if isinstance(error, ValidationError) and isinstance(error.__cause__, InvalidSettings):
        return explain(error.__cause__)
    command = " ".join(["recon", *(error.command_chain or ())])
    return f"{' '.join(str(error).split())} `{command} --help` lists what there is."


def _system(error: OSError) -> str:
    """Disk full, no permission, not a folder: the system's own words and the file."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
