"""The operator: the only bridge between the Kubernetes API and the database."""
