"""The `qsched` command: one file per subcommand, nothing heavy imported before it is used."""
