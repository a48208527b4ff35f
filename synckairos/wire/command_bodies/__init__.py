"""Pydantic models of the arguments of commands. OpenAPI is generated from the same models.

REST and WebSocket both parse commands into these models (`body_parser`). A body becomes a value of `clock.commands`.
The clock then checks whether the state of the session allows the command.
"""
