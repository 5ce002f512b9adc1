"""Funnels, Dropoff's own and those of a project; where conversations are lost, and why."""
