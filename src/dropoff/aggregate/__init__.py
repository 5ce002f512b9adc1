"""Hourly and daily rollups, replaced where the store marked a bucket as changed."""
