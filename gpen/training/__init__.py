"""Training in two stages: data, losses, discriminators, monitoring."""
