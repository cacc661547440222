"""One task a file; a task needs torch and the protocol in kpflow_cli.task, nothing else."""
