"""What a project says of itself in `dropoff.toml`: settings, and funnels, metrics, targets … of its own. No I/O."""
