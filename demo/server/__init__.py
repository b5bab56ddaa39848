"""The server of the page: routes, request limits, models, ZeroGPU."""
