"""What a text answers: its tags (`tags`), what it states, and whether that is the reference (`compare`)."""
