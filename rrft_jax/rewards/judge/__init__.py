"""LLM judges: a served model reads a rubric, demonstrations and a fenced item, and replies with a JSON verdict."""
