"""Report: one self-contained HTML page with its images; opening it fetches nothing."""
