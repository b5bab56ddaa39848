"""Training data: files, data sets of the Hub, augmentation, inputs of the tasks."""
