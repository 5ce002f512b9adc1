"""From the queue to the store: frames, steps, what stands, what was said, fold, attribution, changes, the worker."""
