"""What a process stands on: settings, clock, files, locks, jobs, MLflow, Kubernetes."""
