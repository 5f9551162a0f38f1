"""Drift: whether what a version is given, or answers, still looks like its reference."""
