"""One tool that writes messages (RFC 5322) into a folder. It receives addresses, and knows no tokens."""

import os
from email.message import EmailMessage
from pathlib import Path


def send(to, subject, body):
    """Put a message to *to* into the outbox; an address in *body* is written out as well."""
    if "@" not in to:
        raise ValueError("that is no address")
    message = EmailMessage()
    message["To"], message["Subject"] = to, subject
    message.set_content(body)
    data = bytes(message)
    place = Path(os.environ["OUTBOX"], f"{os.environ['MPP_INVOCATION']}.eml")
    place.with_suffix(".part").write_bytes(data)
    place.with_suffix(".part").rename(place)
    return {"to": to, "bytes": len(data)}
