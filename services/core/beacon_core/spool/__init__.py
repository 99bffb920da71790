"""The spool of acknowledged predictions, which inference appends to and the prediction log's process ships."""
