"""What may leave: detection and redaction of sensitive data in everything a tool says.

::

    finding     the words: kinds, what a detector proposes, what a redaction reports
    fold        the same text as a reader sees it, offsets kept
    network     detectors: e-mail and IP addresses
    numbers     detectors: payment cards and IBANs, by their checksums
    rules       detectors: secrets, by their providers' published formats
    detect      every detector over one string
    literals    values that are known already, wherever they stand
    policy      which kind is masked, hashed, dropped or allowed, and who decides
    mask        what stands where a value stood
    document    a JSON value taken apart and put together again
    redact      one result: every channel, every leaf, every key
"""
