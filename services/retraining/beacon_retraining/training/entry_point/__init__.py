"""Training code of the product's owner: the estimator that training.entry_point gives, fitted in limited processes."""
