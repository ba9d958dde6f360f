"""What the commands do, free of how their options are written on the command line."""
