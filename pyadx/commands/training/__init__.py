"""Commands that train networks and convert or strip checkpoints."""
