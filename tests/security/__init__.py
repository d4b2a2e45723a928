"""The product as an attacker sees it: docs/threats.md names each test here."""
