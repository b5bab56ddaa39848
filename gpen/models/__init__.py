"""Networks, their files, and sampling from a prior."""
