"""Photos of the tab Restore a photo: state, files and HTML."""
