"""Restoration methods to compare."""
