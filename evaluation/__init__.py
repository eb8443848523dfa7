"""Measures models: features → distances → suites → report."""
