"""What the demo shows, and the storm that it sends itself."""
