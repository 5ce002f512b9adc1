"""What runs once and ends: import, export, copy, enrich."""
