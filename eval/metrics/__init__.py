"""Metrics and their statistics."""

from eval.metrics.registry import METRICS, Metric, compare, load_metrics
from eval.metrics.weights import MetricSettings, MissingMetric

__all__ = ["METRICS", "Metric", "MetricSettings", "MissingMetric", "compare", "load_metrics"]
