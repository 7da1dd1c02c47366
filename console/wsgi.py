"""What a WSGI server loads: ``console.wsgi:application`` built from the environment's settings."""

from console.app import create_app
from console.settings import load

application = create_app(load())
