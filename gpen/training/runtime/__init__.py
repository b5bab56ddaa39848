"""Processes, memory and compilation."""
