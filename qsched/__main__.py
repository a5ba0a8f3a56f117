"""`python -m qsched` is `qsched`."""

from qsched.cli.main import main

main()
