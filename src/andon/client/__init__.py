"""For cameras and devices: record events at once, deliver them when the server is there.

`Sender` writes what happens into a file beside the camera (the *spool*) and sends it in batches
from a thread of its own. Importing this package costs the standard library and msgspec alone;
it shares nothing with the server but its errors and ids.
"""

from andon.client.sender import Sender, Status
from andon.client.spool import Rejected

__all__ = ["Rejected", "Sender", "Status"]
