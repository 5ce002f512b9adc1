"""From an address to a page: `frame`, a question and its page; `rendering`, `navigation`, `forms`; `files` and
`spreadsheet`, what a page saves."""
