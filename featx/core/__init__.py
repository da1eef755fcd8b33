"""Core: the errors, types, records and files that every other package of featx uses."""
