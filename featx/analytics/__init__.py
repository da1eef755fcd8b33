"""Analytics: search, duplicates, audit and suggestions, on the vectors of a cache."""
