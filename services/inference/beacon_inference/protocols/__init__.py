"""The protocols: each turns a request into `PredictionInputs`, and records into an answer."""
