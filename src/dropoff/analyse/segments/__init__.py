"""Segments, and two periods, compared: at one age, and over contacts that come back."""
