"""The bars of speed and size, each beside its reference in the same run: only ratios count."""
