"""Storage of votes."""
