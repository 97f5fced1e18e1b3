"""Pipelines: steps on a frame, whose columns say which step needs which. `smelt.api.pipelines` is what users call."""
