"""What a whole retraining of a large table costs: seconds and memory by stage."""
