"""Rules, the judgement of their windows, the states of what fires; what rules would have done."""
