"""From outside to training rows: fetched, validated, joined."""
