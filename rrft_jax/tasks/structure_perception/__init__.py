"""Structure perception: plane geometry whose numbers stand in the picture, exact answers, chains of thought."""
