"""A module for each page, and `routes` to them; `sides` is a part of two."""
