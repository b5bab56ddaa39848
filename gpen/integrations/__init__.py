"""Integrations with other libraries, each of which is an optional dependency."""
