"""Experiments: who was exposed, what came of it, whether to trust it, what to do; and how large one has to be."""
