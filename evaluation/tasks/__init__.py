"""One small measure a task: what the model is asked, what is true, and what one would have without it."""
