"""The log's topic of Kafka into the lake, by Structured Streaming."""
