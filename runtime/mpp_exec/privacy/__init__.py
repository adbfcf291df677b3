"""What may leave: detection and redaction of sensitive data in everything a tool says.

::

    finding     the words: kinds, what a detector proposes, what a redaction reports
    fold        the same text as a reader sees it, offsets kept
    lookalikes  letters that stand for digits
    anchors     where in a text a value could stand: one pass in C
    network     detectors: e-mail and IP addresses
    numbers     detectors: payment cards and IBANs, by their checksums
    shapes      detectors: telephone, SSN, MAC, VIN, by how they are written
    wallets     detectors: crypto addresses, by their checksums
    checksums   check digits of national identifiers
    national    detectors: identifiers that states, tax offices and health services give
    escapes     one level of encoding undone
    markup      text without the markup inside its words
    words       the words of a label
    secret_names the names of secrets, in three strengths
    headers     what the names of columns and pairs announce
    tables      detectors: columns of text whose header announces what is below
    markup_tables detectors: tables, lists and elements of HTML and XML
    forms       detectors: pairs of a name and a value, one below the other
    sql         detectors: what statements put into columns
    grids       tables in JSON
    declared    detectors: secrets that the object says they are
    people      what a value looks like where it is announced
    labels      the words that announce a kind, as keys and headers
    labelled    detectors: values that somebody has announced
    sentences   detectors: values that a sentence tells, in other languages
    names       detectors: names, addresses and user names, only where announced
    rules       detectors: private keys, AWS, GitHub and JSON web tokens
    tokens      detectors: secrets, by their providers' published prefixes
    values      whether a value is a secret that its name announces
    assigned_values what an assignment gives the name of a secret
    told_values what follows such a name without an assignment
    assignments detectors: secrets, by their names
    unnamed     detectors: random strings that an unknown name is given
    foreign     detectors: passwords whose label is in another script
    credentials detectors: passwords beside a user's name, in URLs and options
    views       a text in each way it has to be read
    detect      every detector over one string, told of its places
    literals    values that are known already, wherever they stand
    meter       bounds of one redaction, looked at while it runs
    policy      which kind is masked, hashed, dropped or allowed, and who decides
    mask        what stands where a value stood
    vault       tokens, and the values that they stand for
    received    arguments in which tokens were replaced
    numerals    what of a JSON value is no string
    spans       spans of one string that overlap, settled
    leaf        one string of a JSON value
    document    a JSON value taken apart
    writing     and put together again
    patterns    detectors: an organisation's own rules
    second_opinion people and places that a language model sees in prose
    explain     why something counts
    stream      text of any length, in blocks
    redact      one result: every channel, every leaf, every key
"""
