"""Copies of the votes outside the disk of a Space: hub.py keeps them, mounted.py is a folder in place of a dataset of the Hub."""
