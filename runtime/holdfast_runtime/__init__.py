"""What runs one's own code as an endpoint: a service class becomes an HTTP server.

from holdfast_runtime import Service

class Greeter(Service):
    def setup(self) -> None:
        self.greeting = "Hello"

    def infer(self, name: str) -> str:
        return f"{self.greeting}, {name}!"
"""

from holdfast_runtime.media import Audio, File
from holdfast_runtime.problems import InputError
from holdfast_runtime.service import Cancelled, Service, cancelled, check_cancelled

__all__ = ["Audio", "Cancelled", "File", "InputError", "Service", "cancelled", "check_cancelled"]
