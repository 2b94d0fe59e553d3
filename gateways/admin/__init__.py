"""The operator's pages for gateways."""

from .gateways import GatewayAdmin

__all__ = ["GatewayAdmin"]
