"""What is due on a frame, and what the window says."""
