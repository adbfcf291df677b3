"""Who made it: keys, the publishers a home trusts, and verification of a package."""
