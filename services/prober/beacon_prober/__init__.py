"""The prober: asks what serves for a prediction, at each scrape."""
