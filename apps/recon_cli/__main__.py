"""`python -m recon_cli` is `recon`."""

from recon_cli.cli import main

main()
