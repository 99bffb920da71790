"""The pages of job runs."""
