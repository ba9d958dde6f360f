"""Fast, exact visual explanations of 3D CNNs on brain MRI."""
