"""Commands that evaluate methods and reproduce the experiments of the paper."""
