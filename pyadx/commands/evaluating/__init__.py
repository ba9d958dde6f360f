"""Commands that measure methods, and that repeat the experiments of the paper."""
