"""Drift profiling: prediction log -> profiles -> drift and performance results."""
