"""Images room: what the user points at becomes a manifest, and bytes become RGB pixels."""
