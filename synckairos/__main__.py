"""Entry point of `python -m synckairos`, which is the same as the command `synckairos`."""

from synckairos.cli import main

main()
