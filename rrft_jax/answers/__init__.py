"""What a text answers: the tags around an answer (`tags`), what it states, and whether that is the reference (`compare`)."""
