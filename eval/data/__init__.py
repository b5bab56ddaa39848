"""Faces and low-quality (LQ) sets."""
