"""From the prediction log to profiles by model version and hour."""
