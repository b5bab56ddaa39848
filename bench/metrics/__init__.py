"""Comparison of the metrics with those of other libraries."""
