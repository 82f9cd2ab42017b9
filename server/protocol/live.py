"""Live messages: fleeting facts that touch no table; of each type the last one counts."""

from __future__ import annotations

LIVE = {
    "clock": "server time at connecting: {at}",
    "presence": "who is here: {site id: {operator: n, display: n, trainee: n, sound: page that plays"
    " the room's sound or null}}, key 0 for no site",
    "publications": "what is being published: {source: {video, audio, alive, picture, heard}}",
    "slots": "what this page's receiving session shows: {session, slots: {mid: source or null}}",
    "speaking": "which sources are heard now: [source]",
    "choices": "how the open quiz item is answered so far, staff only, at most once a second:"
    " {run, item, votes: [how many chose each option]}",
    "lines": "uplinks, staff and own site only: {source: {bitrate_bps, loss, width, height, narrow: it"
    " keeps the picture smaller}}",
    "downlink": "a session of this page gets smaller pictures than it shows, for its line carries no"
    " more: {session, carries_bps: bit/s, or null once all is well, withheld: [mid] that get none}",
    "downlinks": "such lines, staff only: {source of the site: bit/s}",
    "recording": "how the recording stands: {state, duration_ms}",
    "layers": "which simulcast layers of a publication of this seat are to be sent: {session, rids}",
    "media_closed": "a media session of this seat, or an encoder of its site that sent too much, ended:"
    " {session, source, reason}",
    "media_ready": "the media worker is there again after an outage: {}",
}
"""Types of the Socket.IO event ``live`` (a list of {type, data}); clients keep state.live[type]."""
