"""What has to happen to one object of each kind, level-triggered: one module per kind."""
