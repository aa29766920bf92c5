"""The one client for services that are called over HTTP."""

from storage.remote.client import Answer, Client, Request, Service

__all__ = ["Answer", "Client", "Request", "Service"]
