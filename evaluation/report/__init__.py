"""The page, the table and the pictures that a measurement becomes."""
