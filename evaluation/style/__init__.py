"""How pictures look, whatever they show: a descriptor, and figures over descriptors."""
