"""Networks that turn pictures into features, behind one protocol."""
