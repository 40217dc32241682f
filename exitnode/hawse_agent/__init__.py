"""The agent: what a developer runs on a laptop.

docs/agent.md shows every command. Pure: jointoken, target, choice, enrolment, session, messages, render.
Shells: login, runner, files, probe, running, cli/.
"""
