"""Sessions of the server as values of the Python client, so that tests can compare both."""

from synckairos.clock.model import Session
from synckairos.wire.session_json import render_session
from synckairos_client.generated.clock.model import Session as ClientSession
from synckairos_client.generated.wire.session_parser import parse_session


def client_session(session: Session) -> ClientSession:
    """Return the session as the client parses it."""
    return parse_session(render_session(session))
