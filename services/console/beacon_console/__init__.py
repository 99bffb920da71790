"""The console: the page where people see whether the product is well, and the metrics of its jobs."""
