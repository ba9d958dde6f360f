"""Commands on maps of many subjects."""
