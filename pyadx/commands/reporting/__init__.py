"""Commands that show results and the installation."""
