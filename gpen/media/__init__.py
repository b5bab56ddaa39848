"""Photo files, videos, folders of both."""
