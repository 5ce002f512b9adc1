"""The second place where data rests: events and what is made of them. A port, its adapters, and all SQL of engines."""
