"""What `fit` does once there is a model and a data set."""
