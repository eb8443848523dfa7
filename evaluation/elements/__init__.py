"""What a brand fixes in a picture: its colours, its words, its logo.  Measured one picture at a time."""
