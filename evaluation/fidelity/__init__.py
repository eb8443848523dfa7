"""Whether a picture shows what its caption says: scorers that put pictures and captions into one space."""
