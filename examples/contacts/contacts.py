"""One tool over an address book. The tool knows nothing about redaction or tokens."""

import csv
import os
from pathlib import Path


def find(customer):
    """Return the row of *customer*, a number such as ``C-1017``."""
    with Path(os.environ["BOOK"]).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["customer"] == customer:
                return {"customer": customer, "email": row["email"]}
    raise LookupError(f"there is no customer {customer}")
