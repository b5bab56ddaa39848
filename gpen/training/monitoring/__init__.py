"""What a run writes down: checkpoints, log, curves, validation scores."""
