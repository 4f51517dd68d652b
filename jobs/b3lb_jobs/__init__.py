"""The programs that do the work: tasks of queues, run by Jobs and CronJobs. They know no Kubernetes client."""
