"""Weekly and monthly reports: one value made of answers, and three ways to write it.

* What it says: `value`, `spans`, `contents` with the sections `numbers`, `losses`, `learned`, `monthly`, `talks`.
* Where its numbers can be looked up: `references`, `links`.
* How it is written: `html`, `markdown`, `pdf`, `plain`; `reports` makes files, `job` sends them once, `sent` remembers.
"""
