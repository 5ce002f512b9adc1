"""The first place where data rests: a durable log of bytes. A port and its adapters."""
