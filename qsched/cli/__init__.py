"""The `qsched` command: one file a subcommand, nothing heavy imported before it is used."""
