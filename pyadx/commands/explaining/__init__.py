"""Commands that explain one scan, and their helpers for networks, methods and heatmaps."""
