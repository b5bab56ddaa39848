"""The evaluation suite: frozen low-quality sets, methods, metrics, tables. `python -m eval --help`."""
