"""Discriminators and their augmentation."""
