"""One self-contained HTML page with its pictures: nothing is fetched when it is opened."""
