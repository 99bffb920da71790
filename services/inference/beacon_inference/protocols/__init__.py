"""The protocols: each turns a request into an `Ask` and records into an answer; the pipeline does the rest."""
