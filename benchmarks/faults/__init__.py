"""Commands and readers under attack: killed, out of room, with damaged files."""
