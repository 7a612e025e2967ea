"""Where records go; the answer log is the first of them."""
