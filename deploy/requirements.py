"""Prints what pyproject.toml requires for some extras: `python3 deploy/requirements.py service`. Standard library only.

An image installs these before the sources are copied, so that a changed source does not install them again.
"""

import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = [line for extra in sys.argv[1:] for line in project["optional-dependencies"][extra]]
print(*project["dependencies"], *extras, sep="\n")
