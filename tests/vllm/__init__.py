"""Tests on a real vLLM. `python3 dev.py vllm` installs it; they are left out unless asked for with `-m vllm`."""
