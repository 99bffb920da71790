"""Explanations of a model's answers: what each feature adds to a prediction."""
