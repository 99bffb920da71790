"""What is measured about retraining itself."""
