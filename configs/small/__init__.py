"""What makes tasks and models small enough to verify."""
