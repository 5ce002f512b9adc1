"""Rules, the judgement of their windows, the states of what fires; what rules would have done.

* What is watched: `files`, `rules`, `hours`, `starters`.
* What stands in a window, now and before: `values`, `past`, `kept`, `delay`.
* What becomes of it: `judge`, `state`, `evaluate`, `causes`, `memory`, `links`, `job`.
* What people ask: `answers`, `backtest`, `rehearse`.
"""
