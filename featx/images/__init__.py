"""Images: list the images of a source in a manifest, and decode bytes to RGB pixels."""
