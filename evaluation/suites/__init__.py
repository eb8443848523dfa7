"""What is drawn, what it is held against, and which panels look at it."""
