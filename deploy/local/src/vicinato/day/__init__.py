"""`vicinato day FOLDER`: a day of a centre, played through the public HTTP API and the bus.

`rows` reads the folder, `client` speaks HTTP, `centre` sets a centre up, `steps` are the day
itself, `stage` starts a throw-away centre with a clock that can be moved, `outcome` is the table at
the end.
"""
