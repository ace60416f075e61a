"""The application: commands, `--config`, and how errors become one line and an exit code."""


def main() -> None:
    """Run the command line."""
