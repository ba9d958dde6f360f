"""Whether the scans of a batch keep to themselves in somebody's model."""
