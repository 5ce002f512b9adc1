"""Messages to people and programs: receivers, signatures, silences, an outbox that survives kills.

A notice (`base`) waits in the `outbox` until `delivery` hands it, as `texts` say it, to a `webhook` or a `chat`;
`silences` and acknowledgements hold it back.
"""
