"""Doctor: measure this machine and advise."""
