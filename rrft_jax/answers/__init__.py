"""Reading answers: tags, numbers, formulas, choices, function sequences, and whether two say the same."""
