"""From an example's text and images to the arrays the model is given: chat template, patches, positions, buckets."""
