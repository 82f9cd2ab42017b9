"""The organiser's pages: server-rendered forms by account, each ending as a command in the inbox."""

from __future__ import annotations

from aiohttp import web

from server.web import (
    organiser_agenda,
    organiser_conferences,
    organiser_import,
    organiser_links,
    organiser_people,
    organiser_quizzes,
    organiser_reports,
    organiser_roster,
    organiser_seats,
    organiser_sites,
)

routes: list[web.RouteDef] = [
    *organiser_conferences.routes,
    *organiser_agenda.routes,
    *organiser_sites.routes,
    *organiser_people.routes,
    *organiser_roster.routes,
    *organiser_import.routes,
    *organiser_quizzes.routes,
    *organiser_links.routes,
    *organiser_seats.routes,
    *organiser_reports.routes,
]
