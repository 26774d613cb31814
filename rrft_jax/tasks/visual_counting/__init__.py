"""Visual counting: procedural scenes, add / remove / count questions, exact answers, chains of thought."""
