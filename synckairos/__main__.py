"""`python -m synckairos`: the same as the `synckairos` command."""

from synckairos.cli import main

main()
