"""The prober: sends a golden request to the service at each scrape."""
