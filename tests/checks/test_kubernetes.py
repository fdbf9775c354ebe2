"""The Kubernetes manifests fit the image, the commands, the settings and the addresses, and have no rights to spare."""
