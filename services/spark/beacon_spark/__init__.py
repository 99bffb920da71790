"""The jobs that read the log, on Apache Spark."""
