"""Spatial transformation: two pictures of a few objects, and which functions lead from the first to the second."""
