"""A module for each page, and `pages`, the routes to them; `sides` is a part of two."""
