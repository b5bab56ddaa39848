"""Inference engines: PyTorch, onnxruntime and OpenVINO behind one call."""
