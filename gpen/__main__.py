"""Entry point of `python -m gpen`."""

from .cli import main

main()
