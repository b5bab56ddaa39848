"""Entry point of `python -m gpen`."""

from gpen.cli import main

main()
