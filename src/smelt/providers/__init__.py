"""What a provider of your own is made of (`docs/own-model.md`). Adapters are loaded when a model is asked."""

from smelt.providers.base import Billing, CallFailed, Capabilities, Connection, Provider, Reply, Request, Usage

__all__ = ["Billing", "CallFailed", "Capabilities", "Connection", "Provider", "Reply", "Request", "Usage"]
