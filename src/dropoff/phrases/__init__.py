"""How every surface says it: numbers, words, sentences about answers, and the addresses of pages to which they lead.

* `formats` writes numbers, times and foreign text; `words` and `meanings` are the terms; `addresses` the links.
* Sentences about answers: `differences`, `utterances`, `verdicts`, `findings`, `advice`, `running`, `health`.
"""
