"""What is due on a frame, what is asked of the model together, and what the window says."""
