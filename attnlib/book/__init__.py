"""What the book keeps of itself: the taxonomy of its subject, and the claims it has put to the test."""
