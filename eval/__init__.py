"""Evaluation of face restoration: LQ sets, methods, metrics, reports and preference studies. See `python -m eval --help`."""
