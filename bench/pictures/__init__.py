"""Pictures of the documentation that need no browser."""
