"""HTTP to our words and back, thin."""
