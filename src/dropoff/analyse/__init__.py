"""Questions and their answers as values, the same for page, API, command line, alert and report."""
