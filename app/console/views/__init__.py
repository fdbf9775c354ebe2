"""What the pages show: plain values made of sessions, journals and totals."""
