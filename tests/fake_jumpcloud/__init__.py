"""A fake of the JumpCloud API: a real HTTP server, written from what is known of the API.

It is not JumpCloud. It keeps to the limits, page sizes, forms of errors and peculiarities that are
documented, and where nothing is known it does what is harder for a client.
"""

from tests.fake_jumpcloud.faults import Fault
from tests.fake_jumpcloud.organisation import Organisation
from tests.fake_jumpcloud.server import FakeJumpcloudServer, Request

__all__ = ["FakeJumpcloudServer", "Fault", "Organisation", "Request"]
