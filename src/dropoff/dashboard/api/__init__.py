"""From a URL to JSON: `api`, its questions; `parameters`, `shapes`, `replies`, `openapi`, its schema; and what people
keep and do, on page and command line, too: `filters`, `desk`."""
