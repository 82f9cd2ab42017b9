"""The recorder process: RTP of the stage and the floor in, HLS on disk out.

It knows ``server.media.messages`` and ``server.errors`` and nothing else of the server: no room, no
database, no web. ``recording`` is the heart, without sockets or clock; ``process`` drives it.
"""
