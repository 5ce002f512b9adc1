"""The HTTP door: events come in, and are answered when they are on disk."""
