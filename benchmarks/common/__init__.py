"""What the benchmark scripts share: a model to measure, its prompts, sides that take turns, and tables."""
