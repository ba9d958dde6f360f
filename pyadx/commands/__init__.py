"""The commands themselves, independent of how options are written on the command line."""
