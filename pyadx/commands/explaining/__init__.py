"""Commands that explain one scan, and what they need: networks, methods, heatmaps."""
