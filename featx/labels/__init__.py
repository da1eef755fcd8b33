"""Labels: what the source said of rows, what people said later, and what holds."""
