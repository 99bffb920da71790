"""The pages of model versions, and the decision on one of them."""
