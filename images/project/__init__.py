"""Read a project's own files, and conclude how to build and start it. Needs no engine.

`reader.read_project` joins what one module per kind of file finds: `python_version`, `stages` of a
Dockerfile with their `run_steps`, `compose`, `procfile`, `settings`. Every conclusion names the
file and the line that it comes from; what is not taken over is listed too.
"""
