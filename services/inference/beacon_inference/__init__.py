"""Inference: request -> validate -> lookup -> impute -> predict -> respond -> log."""
