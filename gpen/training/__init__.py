"""Training: data, losses, fine-tuning, what a run leaves behind."""
