"""Lists of conversations, what is looked for in them, one conversation, and a few to read."""
