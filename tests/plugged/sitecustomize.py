"""The backend PLUGGED keeps resources: Python runs this at its start where PYTHONPATH has this folder."""

import json
import os

from tests.plugged import plug

plug(setattr, os.environ["PLUGGED"], **json.loads(os.environ["PLUGGED_OPTIONS"]))
