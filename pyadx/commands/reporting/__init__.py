"""Commands that show results, or describe the installation."""
