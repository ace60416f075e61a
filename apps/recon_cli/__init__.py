"""The `recon` command: one thin file for each subcommand."""
