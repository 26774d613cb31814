"""From an example's text and images to the arrays that the model reads: chat template, patches, positions, buckets."""
