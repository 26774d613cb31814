"""Readers of the published data sets and of a user's own tables: each finds its parts, each part streams Examples."""
