"""Restoration of faces and photos, other tasks, variations."""
