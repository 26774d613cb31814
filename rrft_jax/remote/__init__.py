"""Asking a model that somebody serves: which, how, at what pace, and what to do when it fails."""
