"""Scores, agreement and rater quality."""
