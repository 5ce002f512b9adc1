"""What won conversations do and failed ones do not: paths, what is frequent in them, and where they part."""
