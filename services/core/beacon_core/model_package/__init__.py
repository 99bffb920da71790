"""The model package: what retraining hands to inference, and the release file that pins one."""
