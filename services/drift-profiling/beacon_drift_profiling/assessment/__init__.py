"""What a comparison means: results, figures of performance, alarms."""
