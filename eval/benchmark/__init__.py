"""Runs: methods on LQ sets, measured, stored and summarised."""
