"""What can be said of a mask, or of grey values, without knowing where they came from."""
