"""`doctor`: checks the installation and configuration, and on request sends one small question to each provider."""
