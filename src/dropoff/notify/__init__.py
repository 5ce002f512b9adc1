"""Messages to people and programs: receivers, signatures, silences, an outbox that survives kills."""
