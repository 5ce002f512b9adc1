"""From the queue to the store: steps, fold, attribution, and the worker that runs them."""
