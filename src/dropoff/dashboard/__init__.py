"""Pages for people: server-rendered tables and links; JavaScript only draws the charts. And the JSON API for programs.

* From an address to a page: `pages`, the routes; `frame`, a question and its page; `addresses`, `rendering`, `forms`,
  `files`.
* A module for each page; what is drawn on them: `charts`, `funnel_chart`, `sparks`.
* Answers in words, which terminal and report say, too: `formats`, `words`, `meanings`; of these `verdicts`,
  `differences`, `utterances`, `findings`, `advice`, `running`, `health`.
* From a URL to JSON: `api`, its questions; `parameters`, `shapes`, `replies`, `openapi`, its schema.
* What people keep and do, on each surface: `filters`, `desk`.
"""
