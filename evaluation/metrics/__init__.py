"""Figures of two sets of features; no picture is seen here."""
