"""aiohttp handlers: pages, forms, sign-in, WHIP and WHEP, files, health.

A form ends in the same inbox as a socket's command. Nothing here decides what a room's rules are,
and nothing here knows Socket.IO. Each module has ``routes``; ``site.py`` holds what they share.
"""
