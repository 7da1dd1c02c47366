"""What a WSGI server loads: ``console.wsgi:application`` built from the environment's settings."""

from console import founding
from console.app import create_app
from console.settings import load

application = create_app(founding.known(load()))
