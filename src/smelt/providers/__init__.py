"""What a provider of your own is made of (`docs/providers.md`). The adapters are loaded when a model of theirs is asked."""

from smelt.providers.base import Billing, CallFailed, Capabilities, Connection, Provider, Reply, Request, Usage

__all__ = ["Billing", "CallFailed", "Capabilities", "Connection", "Provider", "Reply", "Request", "Usage"]
