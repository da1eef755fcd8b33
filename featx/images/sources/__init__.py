"""Sources: folders, tables and tars become a manifest."""
