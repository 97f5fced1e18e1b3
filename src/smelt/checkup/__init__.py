"""`doctor`: what is installed and configured here, and one small question to each provider."""
