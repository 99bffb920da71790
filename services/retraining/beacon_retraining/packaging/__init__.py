"""A fitted model as the folder that inference serves."""
