"""The media worker: ICE-lite, DTLS, SRTP, forwarding.

Knows grants, never roles; imports no room and no web.
"""
