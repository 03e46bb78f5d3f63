"""What is shipped beside the service, read by the real programs that it is made for."""
