"""Losses of the network."""
