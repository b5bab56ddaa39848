"""Evaluation of face restoration: LQ sets, methods, metrics, reports, preference studies.

See `python -m eval --help`.
"""
