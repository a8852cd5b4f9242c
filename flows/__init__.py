"""When, where and how often the pipeline runs: Prefect around DVC's stages, of which it knows only the names.

Importing the package sets the environment that Prefect, DVC and MLflow read when they are imported.
"""

from flows.tool_settings import set_defaults

set_defaults()
