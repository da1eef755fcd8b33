"""Core: what every other package of featx speaks of."""
