"""What the service is made of: a bill of materials, and its known vulnerabilities."""
