"""Whether pictures are copies: neighbours in a gallery, what counts as a copy, and which prompts are remembered."""
