"""Face detection, alignment, tracking and embedding."""
