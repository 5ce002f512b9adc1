"""Weekly and monthly reports: one value made of answers, and three ways to write it."""
