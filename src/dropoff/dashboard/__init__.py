"""Pages for people: server-rendered tables and links; JavaScript only draws the charts. And the JSON API for programs.

`pages/`: a module for each page; `charts/`: what is drawn on them; `frame/`: what every page is made with; `api/`: from
a URL to JSON. Beside them `templates/`, `web/` (TypeScript) and `static/`, what is built of it.
"""
